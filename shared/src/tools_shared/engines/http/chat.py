"""Sampling from a server that speaks OpenAI's chat API (vLLM, SGLang, llama.cpp, Ollama, TGI, or a paid one), OpenAI's
text completions, or Ollama's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tools_shared.console import say
from tools_shared.costs.meter import note
from tools_shared.costs.prices import BYTES_PER_TOKEN, Prices
from tools_shared.costs.spending import Spending, tokens_of
from tools_shared.engines.http.address import dialect_of
from tools_shared.engines.http.exchange import Server
from tools_shared.engines.http.failures import Failure
from tools_shared.engines.http.habits import NEUTRAL
from tools_shared.engines.http.replies import ChatReply, read_chat
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.engines.http.transport import Reply, Request, post_stream
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Completion, Draw, FinishReason, OnDraw, SamplingParams, Take, draw_key
from tools_shared.errors import Incomplete, ToolError
from tools_shared.prompts import Prompt, plain_text
from tools_shared.records import Message

_ASKED = ("messages", "prompt", "n")
"""Keys of a request that are the question itself."""


@dataclass(frozen=True)
class Extras:
    """What a user adds to every request: texts that end a reply (`stop`), a JSON object merged into the body, and keys
    left out of it, the last of all."""

    stop: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    @classmethod
    def parse(cls, stop: Sequence[str], body: str | None, drop: Sequence[str]) -> Extras:
        """From the options; raises ToolError for a body that is no JSON object, or that would ask something else."""
        try:
            found = json.loads(body) if body is not None else {}
        except (ValueError, RecursionError) as error:
            raise ToolError(f"--extra-body: not JSON ({error}); such as '{{\"top_k\": 20}}'") from error
        if not isinstance(found, dict):
            raise ToolError(f"--extra-body: is {type(found).__name__}, not an object; write '{{\"key\": value}}'")
        if taken := next((name for name in _ASKED if name in found or name in drop), None):
            raise ToolError(
                f"--extra-body and --drop cannot set '{taken}', which the request itself sets; name another key"
            )
        if "" in stop:
            raise ToolError("--stop: an empty text would end every reply at once; give a text, or leave the option out")
        return cls(tuple(word.replace("\\n", "\n").replace("\\t", "\t") for word in stop), found, tuple(drop))

    def onto(self, body: Mapping[str, Any]) -> dict[str, Any]:
        merged = _merged(body, self.body)
        return {name: value for name, value in merged.items() if name not in self.drop}

    def cut(self, text: str) -> str | None:
        """The text before the first stop in it, for servers that write on; None where there is none."""
        found = [at for word in self.stop if (at := text.find(word)) >= 0]
        return text[: min(found)] if found else None


def _merged(body: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more` over `body`, objects in both key by key."""
    found = dict(body)
    for name, value in more.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = _merged(found[name], value) if both else value
    return found


@dataclass(frozen=True)
class ChatApi:
    """How a server at `url` is asked for `model`, and how its replies are read. `stop_token_ids` are what ends a
    completion where that is known here (vLLM and SGLang take them)."""

    url: str
    model: str | None = None
    extras: Extras = field(default_factory=Extras)
    stop_token_ids: tuple[int, ...] = ()

    def body(
        self,
        messages: Sequence[Message],
        params: SamplingParams,
        key: str,
        draw: int,
        template_options: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The request for one sample, with everything that decides it: a server fills what is missing from the model's
        generation config, and a local engine does not. The seed is that of (seed, key, sample), as in every engine."""
        dialect = dialect_of(self.url)
        sampling: dict[str, Any] = {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_k": params.top_k or NEUTRAL["top_k"],
            "min_p": params.min_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repeat_penalty": 1.0,  # llama.cpp, LM Studio and Ollama; the others say repetition_penalty
            "seed": draw_key(params.seed, key, draw) % 2**31,
        }
        if self.extras.stop:
            sampling["stop"] = list(self.extras.stop)
        asked: dict[str, Any] = {"model": self.model} if self.model else {}
        if dialect == "text":
            asked["prompt"] = plain_text(messages)
        else:
            asked["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        options = dict(template_options or {})
        if dialect == "ollama":
            asked["stream"] = False
            if "enable_thinking" in options:
                asked["think"] = options["enable_thinking"]
            more = {"top_k": params.top_k, "num_predict": params.max_new_tokens}
            return self.extras.onto({**asked, "options": sampling | more})
        asked |= sampling | {"repetition_penalty": 1.0, "max_tokens": params.max_new_tokens}
        if self.stop_token_ids:
            asked["stop_token_ids"] = list(self.stop_token_ids)
        if options and dialect == "chat":
            asked["chat_template_kwargs"] = options
        return self.extras.onto(asked)

    def read(self, data: Any, limit: int | None = None) -> ChatReply:
        """Take a reply apart; raises ValueError saying what is missing. A reply of `limit` tokens whose end the server
        says nothing about was cut."""
        reply = read_chat(data)
        cut = self.extras.cut(reply.text)
        if cut is not None:
            return replace(reply, text=cut, finish_reason="stop")
        is_full = limit is not None and reply.tokens_out is not None and reply.tokens_out >= limit
        return replace(reply, finish_reason="length") if is_full and reply.raw_reason is None else reply

    def worth_keeping(self, data: Any) -> bool:
        """Whether a reply may be given again to the same request: not one with nothing in it, as a server has in a bad
        hour, nor one that cannot be read."""
        try:
            return not self.read(data).is_empty
        except ValueError:
            return False


def refusal_of(failure: Failure) -> ChatReply | None:
    """The reply that a content filter's refusal of a request amounts to; None for any other failure.

    It has no text: the filter's words are not the model's, and the numbers in them are no answer.
    """
    return ChatReply("", "content_filter", refusal=True) if failure.filtered else None


def used_tokens(api: ChatApi, body: Mapping[str, Any], data: Any) -> tuple[int, int]:
    """Tokens in and out that a reply was paid for; where the server does not count them, a third of the bytes."""
    try:
        read = api.read(data)
    except ValueError:
        return tokens_of(body), 0
    n_in = tokens_of(body) if read.tokens_in is None else read.tokens_in
    return n_in, len(read.text.encode()) // BYTES_PER_TOKEN if read.tokens_out is None else read.tokens_out


class HttpEngine(StreamingEngine):
    """The `Engine` of a server. Prompts are sent as messages and rendered there, so there is no tokenizer here and
    `Completion.token_ids` are empty; `n_told` is what the server counted."""

    tokenizer = None
    context_length: int | None = None

    def __init__(
        self,
        server: Server,
        model: str | None,
        cache: ReplyCache | None = None,
        extras: Extras | None = None,
        stop_token_ids: tuple[int, ...] = (),
    ) -> None:
        self.server, self.cache = server, cache
        self.api = ChatApi(server.url, model, extras or Extras(), stop_token_ids)
        self.source = f"{server.shown} {model or ''}".strip()
        self.n_under_way = server.concurrency
        self._said_empty = False
        self.spending = Spending(Prices())

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """See `Engine.stream`: `n_slots` requests are under way. Raises Incomplete at the first request that fails for
        good, and where the budget does not cover the next: what `on_draw` was given is kept by the caller, and a cache
        keeps the rest."""
        if params.logprobs:
            raise ToolError("--engine http draws without logprobs; use another engine for them")

        def next_request() -> Request | None:
            if self.spending.over or (draw := take()) is None:
                return None
            prompt = draw.prompt
            body = self.api.body(prompt.messages, params, draw.key, draw.sample, prompt.template_options)
            is_known = self.cache is not None and self.cache.get(self.server.url, body, draw.sample) is not None
            most[id(draw)] = self.spending.most(body, params.max_new_tokens, is_known)
            return Request(draw, body, draw.sample) if self.spending.reserve(most[id(draw)]) else None

        def on_reply(request: Request, reply: Reply) -> None:
            draw: Draw = request.key
            self._book(request, reply, most.pop(id(draw)))
            on_draw(draw, self._completion(draw.key, draw.prompt, reply, params.max_new_tokens))

        most: dict[int, float] = {}
        server = replace(self.server, concurrency=n_slots)
        post_stream(server, next_request, on_reply, self.cache)
        self.spending.check(self.server.shown)

    def count(self, draw: Draw, completion: Completion, is_first: bool = True) -> None:
        """See `Engine`: counted as the reply comes, with what the server counted."""

    def _book(self, request: Request, reply: Reply, most: float) -> None:
        """Count what a reply cost: nothing from the cache or after a failure."""
        paid = reply.failure is None and not reply.cached
        used = used_tokens(self.api, request.body, reply.data) if paid else (0, 0)
        prices = self.spending.prices
        note(*used, source=self.source, requests=int(paid), cached=int(reply.cached), prices=prices)
        self.spending.settle(most, prices.of(*used))

    def _completion(self, name: str, prompt: Prompt, reply: Reply, limit: int) -> Completion:
        read = refusal_of(reply.failure) if reply.failure is not None else None
        if reply.failure is not None and read is None:
            raise Incomplete(
                f"{self.server.shown}: prompt {name}: {reply.failure.kind}: {reply.failure.message} "
                f"(after {reply.attempts} tries); run the same command again to resume"
            )
        try:
            read = read or self.api.read(reply.data, limit)
        except ValueError as error:
            raise ToolError(f"{self.server.shown}: {error}; is this an OpenAI-compatible chat endpoint?") from error
        if read.is_empty and not self._said_empty:
            self._said_empty = True
            say(f"{self.server.shown}: prompt {name} has an empty reply: {read.why_empty} (only the first is said)")
        ending: FinishReason = "length" if read.finish_reason == "length" else "stop"
        return Completion(whole_text(read, prompt.think), (), ending, n_told=read.tokens_out)


def whole_text(reply: ChatReply, think: tuple[str, str] | None) -> str:
    """What the model wrote: reasoning that a server's parser took out is put back in its place, in the profile's tags
    (`think`; None where it has none). Reasoning that was cut off stays open, as the model left it. An opening tag that
    the server's template wrote for the model is put back too."""
    if think and think[1] in reply.text and think[0] not in reply.text:
        return f"{think[0]}{reply.text}"
    if not reply.reasoning or (think and (think[0] in reply.text or think[1] in reply.text)):
        return reply.text
    opening, closing = think or ("", "\n")
    cut_off = reply.finish_reason == "length" and not reply.text.strip()
    return f"{opening}{reply.reasoning}{'' if cut_off else closing}{reply.text}"
