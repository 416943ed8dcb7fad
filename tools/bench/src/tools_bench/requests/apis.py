"""What is sent to an endpoint and what is read from its replies: OpenAI's chat API, a tutor's `/chat`, or any JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tools_bench.requests.items import Item, messages_of
from tools_shared.addresses import is_file
from tools_shared.engines import SamplingParams
from tools_shared.engines.http.address import address_parts, chat_url, dialect_of
from tools_shared.engines.http.chat import ChatApi, Extras, refusal_of
from tools_shared.engines.http.failures import Failure
from tools_shared.engines.http.replies import ChatReply
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile

ApiName = Literal["auto", "openai", "chat", "template"]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply read: the model's text, how it ended, and what else the server said. `refusal` is True where the model
    refused in a field of its own or a content filter withheld the reply; `why_empty` what came instead of a text."""

    text: str
    finish_reason: str = "stop"
    reasoning: str | None = None
    refusal: bool | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    opens_thinking: bool = False
    why_empty: str | None = None

    @classmethod
    def of_chat(cls, chat: ChatReply) -> Answer:
        return cls(
            chat.text,
            chat.finish_reason,
            chat.reasoning,
            chat.refusal,
            chat.tokens_in,
            chat.tokens_out,
            why_empty=chat.why_empty if chat.is_empty else None,
        )

    @property
    def is_empty(self) -> bool:
        return not self.text.strip() and not self.refusal


def answer_to(failure: Failure) -> Answer | None:
    """What a failed request still says about the model: a content filter refused it. None for any other failure."""
    refused = refusal_of(failure)
    return None if refused is None else replace(Answer.of_chat(refused), why_empty=failure.message)


@dataclass(frozen=True)
class Api:
    """One of the ways to ask. `template` is the parsed request template, `response_path` where the text is in a
    reply (`choices.0.message.content`); `extras` are what the user adds to every request."""

    name: str
    url: str
    model: str | None = None
    template: Any = None
    response_path: str | None = None
    extras: Extras = field(default_factory=Extras)

    @property
    def chat(self) -> ChatApi:
        return ChatApi(self.url, self.model, self.extras)

    @property
    def tells_format(self) -> bool:
        """Whether the model is told how to mark its answer; where not, the strict accuracy means nothing."""
        return self.name == "openai" or (self.name == "template" and "{system}" in json.dumps(self.template))

    def body(self, item: Item, profile: Profile, params: SamplingParams, draw: int) -> dict[str, Any]:
        """The JSON to post for one sample."""
        if self.name == "chat":
            return self.extras.onto(_tutor_body(item))
        messages = messages_of(item, profile)
        if self.name == "openai":
            return self.chat.body(messages, params, f"{item.task}/{item.id}", draw, profile.template_options)
        words = {
            "system": "\n".join(m.content for m in messages if m.role == "system"),
            "prompt": messages[-1].content,
            "question": item.question,
            "model": self.model or "",
            "grade": grade_label(item.grade),
            "mode": item.mode or "explain",
        }
        filled = _filled(self.template, words)
        return self.extras.onto(filled) if isinstance(filled, Mapping) else filled

    def read(self, data: Any, limit: int | None = None) -> Answer:
        """Take a reply apart; raises ValueError saying what is wrong with it. `limit`: see `ChatApi.read`."""
        if self.name == "openai":
            return self._read_chat(data, limit)
        if self.name == "template":
            return self._cut(_at(data, self.response_path or ""))
        if not isinstance(data, Mapping) or not isinstance(data.get("response"), str):
            raise ValueError("no text under 'response' in the reply")
        refusal = data.get("refusal")
        return replace(self._cut(data["response"]), refusal=refusal if isinstance(refusal, bool) else None)

    def _read_chat(self, data: Any, limit: int | None) -> Answer:
        try:
            return Answer.of_chat(self.chat.read(data, limit))
        except ValueError as error:
            if dialect_of(self.url) != "ollama":
                raise
            raise ValueError(f"{error}; /api/chat is asked as Ollama's own API: --api chat for a tutor's") from error

    def worth_keeping(self, data: Any) -> bool:
        """Whether a reply may be given again to the same request: not an empty or unreadable one."""
        try:
            return not self.read(data).is_empty
        except ValueError:
            return False

    def _cut(self, text: str) -> Answer:
        cut = self.extras.cut(text)
        return Answer(text if cut is None else cut)


def choose_api(
    name: ApiName,
    endpoint: str,
    model: str | None,
    template: str | None,
    response_path: str | None,
    extras: Extras | None = None,
) -> Api:
    """The API that the options describe. `auto`: the tutor's where the address ends with `/chat` (but not with Ollama's
    `/api/chat`), else OpenAI's or Ollama's, as its address says.

    Raises ToolError when a template is needed and not given, or does not parse.
    """
    more = {"extras": extras or Extras()}
    if name == "auto":
        is_tutor = address_parts(endpoint).path.rstrip("/").endswith("/chat") and dialect_of(endpoint) != "ollama"
        name = "template" if template else "chat" if is_tutor else "openai"
    if name != "template" and (template or response_path):
        raise ToolError(f"--request-template and --response-path are for --api template, not {name}")
    if name == "openai":
        return Api("openai", chat_url(endpoint), model, **more)
    if name == "chat":
        return Api("chat", endpoint, model, **more)
    if not template or not response_path:
        raise ToolError("--api template needs --request-template and --response-path")
    return Api("template", endpoint, model, _parsed(template), response_path, **more)


def grade_label(grade: str | None) -> str:
    """A grade as the tutor API writes it: K, 1 ... 12."""
    return (grade or "6").strip().upper().removeprefix("GRADE ").strip()


def _tutor_body(item: Item) -> dict[str, Any]:
    body: dict[str, Any] = {
        "question": item.question,
        "mode": item.mode or "explain",
        "grade": grade_label(item.grade),
        "dont_reveal_answer": item.guarded,
    }
    return {**body, "attempt": item.attempt} if item.attempt else body


def _parsed(template: str) -> Any:
    text = Path(template).read_text(encoding="utf-8") if is_file(template) else template
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolError(
            f"--request-template: not JSON ({error}), nor a file of it; such as "
            '{"inputs": "{system} {prompt}"}, or a file that holds it'
        ) from error


def _filled(part: Any, words: Mapping[str, str]) -> Any:
    """The template with its `{names}` replaced, in strings at any depth; nothing else in braces is touched."""
    if isinstance(part, str):
        for name, value in words.items():
            if part == "{" + name + "}":
                return value
        pieces = part.split("{")
        return pieces[0] + "".join(_piece(piece, words) for piece in pieces[1:])
    if isinstance(part, Mapping):
        return {key: _filled(value, words) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, words) for value in part]
    return part


def _piece(piece: str, words: Mapping[str, str]) -> str:
    name, brace, rest = piece.partition("}")
    return words[name] + rest if brace and name in words else "{" + piece


def _at(data: Any, path: str) -> str:
    found = data
    for step in path.split("."):
        if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        elif isinstance(found, Mapping) and step in found:
            found = found[step]
        else:
            raise ValueError(f"nothing at '{step}' of response path '{path}'")
    if not isinstance(found, str):
        raise ValueError(f"response path '{path}' leads to {type(found).__name__}, not text")
    return found
