"""`tools-bench doctor`: one question to a server, what went there and back, and what would fix what is odd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tools_bench.config import DoctorConfig
from tools_bench.doctor.advice import advice_on_failure, advice_on_reply, advice_on_template
from tools_shared.addresses import shown_request
from tools_shared.engines import SamplingParams, extras_of
from tools_shared.engines.http.address import chat_url, read_api_key
from tools_shared.engines.http.chat import ChatApi
from tools_shared.engines.http.exchange import Server
from tools_shared.engines.http.failures import Failure
from tools_shared.engines.http.habits import Habits
from tools_shared.engines.http.replies import ChatReply
from tools_shared.engines.http.served import served_models
from tools_shared.engines.http.transport import Reply, Request, post_all
from tools_shared.prompts import DEFAULT_PROFILE, load_profile, question_messages


@dataclass
class Diagnosis:
    """What was sent and came back; `advice` are sentences, each with the option that helps. `failed`: no reply."""

    address: str
    models: list[str]
    model: str | None
    request: dict[str, Any]
    template: str | None = None
    reply: ChatReply | None = None
    raw: Any = None
    seconds: float = 0.0
    failed: str | None = None
    changes: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(config: DoctorConfig) -> Diagnosis:
    """Ask the server one question and look at all of it; raises ToolError for options that cannot be used."""
    profile = load_profile(config.profile or DEFAULT_PROFILE)
    changes: list[str] = []
    url = chat_url(config.endpoint or "")
    server = Server(url, read_api_key(config.api_key_env), timeout=config.timeout, habits=Habits(changes.append))
    server = replace(server, max_retries=0)
    models = served_models(server)
    model = config.model_name or (models[0] if len(models) == 1 else None)
    messages = question_messages(profile, config.question)
    api = ChatApi(url, model, extras_of(config))
    params = SamplingParams(max_new_tokens=config.max_new_tokens)
    body = api.body(messages, params, "doctor", 0, profile.template_options)
    found = Diagnosis(server.shown, models, model, shown_request(body, config.extra_body), changes=changes)
    reply = _post(server, body)
    found.raw, found.seconds = reply.data, round(reply.seconds, 2)
    if reply.failure is not None:
        found.failed = f"{reply.failure.kind}: {reply.failure.message}"
        found.advice = advice_on_failure(reply.failure, models, model)
        return found
    try:
        found.reply = api.read(reply.data, config.max_new_tokens)
    except ValueError as error:
        found.failed = str(error)
        found.advice = advice_on_failure(Failure("invalid", str(error)), models, model)
        return found
    found.template = rendered(server, model, body.get("messages", []))
    found.advice = [
        *advice_on_reply(found.reply, profile, messages, config.max_new_tokens),
        *advice_on_template(found.template, messages),
    ]
    return found


def _post(server: Server, body: dict[str, Any]) -> Reply:
    replies: list[Reply] = []
    post_all(server, iter([Request("doctor", body)]), lambda _, reply: replies.append(reply))
    return replies[0]


def rendered(server: Server, model: str | None, messages: Sequence[dict[str, str]]) -> str | None:
    """The prompt as the server's template makes it, from llama.cpp's `/apply-template` or vLLM's `/tokenize`; None from
    a server that shows neither."""
    root = urlsplit(server.url)
    base = root.path.split("/v1/")[0].rstrip("/")
    asked = {"model": model} if model else {}
    for path, body, read in (
        ("/apply-template", {"messages": messages}, _template_text),
        ("/tokenize", {**asked, "messages": messages, "return_token_strs": True}, _token_text),
    ):
        place = replace(server, url=urlunsplit(root._replace(path=f"{base}{path}")), habits=None)
        reply = _post(place, body)
        if reply.failure is None and (text := read(reply.data)) is not None:
            return text
    return None


def _template_text(data: Any) -> str | None:
    text = data.get("prompt") if isinstance(data, dict) else None
    return text if isinstance(text, str) else None


def _token_text(data: Any) -> str | None:
    words = data.get("token_strs") if isinstance(data, dict) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return "".join(words).replace("Ġ", " ").replace("Ċ", "\n").replace("▁", " ")


def describe(found: Diagnosis) -> str:
    """The diagnosis for a person."""
    lines = [f"server: {found.address}", f"models: {', '.join(found.models) or 'not told'}"]
    lines += ["", "request:", json.dumps(found.request, ensure_ascii=False, indent=1)]
    if found.template is not None:
        lines += ["", "prompt, as the server's template makes it:", found.template]
    elif not found.failed:
        lines += ["", "prompt: the server does not show what its template makes of the messages"]
    if found.raw is not None:
        lines += [
            "",
            f"reply, after {found.seconds:g} s:",
            json.dumps(found.raw, ensure_ascii=False, indent=1)[:LONGEST],
        ]
    if (reply := found.reply) is not None:
        tokens = f"{_told(reply.tokens_in)} tokens in, {_told(reply.tokens_out)} out"
        lines += ["", f"text: {reply.text!r}"[:LONGEST]]
        lines += [f"reasoning in a field of its own: {reply.reasoning!r}"[:LONGEST]] if reply.reasoning else []
        lines += [f"{tokens}; it ended with {reply.finish_reason} (the server says {reply.raw_reason})"]
    if found.failed:
        lines += ["", f"failed: {found.failed}"]
    lines += ["", *(f"changed by itself: {change}" for change in found.changes)]
    lines += [f"- {sentence}" for sentence in found.advice] or ["nothing odd"]
    return "\n".join(lines)


LONGEST = 4000
"""Most characters of a reply on the screen; --json gives all."""


def _told(n: int | None) -> str:
    return "unknown" if n is None else str(n)
