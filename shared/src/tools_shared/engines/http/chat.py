"""Sampling from a server that speaks OpenAI's chat API: vLLM, SGLang, llama.cpp, Ollama, TGI, or a paid one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools_shared.engines.base import Completion, SamplingParams, draw_key
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.engines.http.transport import Reply, Request, Server, post_stream
from tools_shared.engines.stream import Draw, OnDraw, Take, all_by_stream
from tools_shared.errors import Incomplete, ToolError
from tools_shared.prompts import Prompt
from tools_shared.records import Message


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a server answered. `reasoning` is what servers with a reasoning parser take out of the text; token counts
    are None where the server does not tell them."""

    text: str
    finish_reason: str
    reasoning: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


def chat_body(
    model: str | None, messages: Sequence[Message], params: SamplingParams, key: str, draw: int
) -> dict[str, Any]:
    """The request for one draw. The seed is that of (seed, key, draw), as with every engine."""
    body: dict[str, Any] = {
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "temperature": params.temperature,
        "max_tokens": params.max_new_tokens,
        "seed": draw_key(params.seed, key, draw) % 2**31,
    }
    if model:
        body = {"model": model, **body}
    # Only what differs from the default: servers refuse names that they do not know.
    for name, neutral in (("top_p", 1.0), ("top_k", 0), ("min_p", 0.0)):
        if getattr(params, name) != neutral:
            body[name] = getattr(params, name)
    return body


def read_chat(data: Any) -> ChatReply:
    """Take a reply apart; raises ValueError saying what is missing."""
    if not isinstance(data, Mapping) or not isinstance(choices := data.get("choices"), list) or not choices:
        raise ValueError("no 'choices' in the reply")
    message = choices[0].get("message") if isinstance(choices[0], Mapping) else None
    if not isinstance(message, Mapping):
        raise ValueError("no 'message' in the first choice")
    content, reasoning = message.get("content"), message.get("reasoning_content") or message.get("reasoning")
    if content is not None and not isinstance(content, str):
        raise ValueError(f"'content' is {type(content).__name__}, not text")
    usage = data["usage"] if isinstance(data.get("usage"), Mapping) else {}
    return ChatReply(
        text=content or "",
        finish_reason="length" if choices[0].get("finish_reason") == "length" else "stop",
        reasoning=reasoning if isinstance(reasoning, str) else None,
        tokens_in=_count(usage.get("prompt_tokens")),
        tokens_out=_count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


class HttpEngine:
    """The `Engine` of a server. Prompts are sent as messages and rendered there, so there is no tokenizer here and
    `Completion.token_ids` are empty."""

    tokenizer = None
    context_length = None

    def __init__(self, server: Server, model: str | None, cache: ReplyCache | None = None) -> None:
        self.server, self.model, self.cache = server, model, cache

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.generate`. Raises Incomplete at the first request that fails for good: what `on_done` was given
        is kept by the caller, and a cache keeps the rest."""
        if params.logprobs:
            raise ToolError("--engine http draws without logprobs; use another engine for them")
        names = keys if keys is not None else [str(i) for i in range(len(prompts))]
        return all_by_stream(self, prompts, params, names, first_sample, on_done, self.server.concurrency)

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """See `Engine.stream`: `n_slots` requests are under way."""

        def next_request() -> Request | None:
            if (draw := take()) is None:
                return None
            body = chat_body(self.model, draw.prompt.messages, params, draw.key, draw.sample)
            return Request(draw, body, draw.sample)

        def on_reply(request: Request, reply: Reply) -> None:
            draw: Draw = request.key
            on_draw(draw, self._completion(draw.key, draw.prompt, reply))

        post_stream(replace(self.server, concurrency=n_slots), next_request, on_reply, self.cache)

    def _completion(self, name: str, prompt: Prompt, reply: Reply) -> Completion:
        if reply.failure is not None:
            raise Incomplete(
                f"{self.server.url}: prompt {name}: {reply.failure.kind}: {reply.failure.message} "
                f"(after {reply.attempts} tries); run the same command again to go on"
            )
        try:
            read = read_chat(reply.data)
        except ValueError as error:
            raise ToolError(f"{self.server.url}: {error}; is this an OpenAI-compatible chat endpoint?") from error
        return Completion(whole_text(read, prompt.think), (), "length" if read.finish_reason == "length" else "stop")


def whole_text(reply: ChatReply, think: tuple[str, str] | None) -> str:
    """What the model wrote: reasoning that a server's parser took out stands in its place again, in the profile's tags
    (`think`; None where it has none). Reasoning that was cut off stays open, as the model left it."""
    if not reply.reasoning or (think and (think[0] in reply.text or think[1] in reply.text)):
        return reply.text
    opening, closing = think or ("", "\n")
    cut_off = reply.finish_reason == "length" and not reply.text.strip()
    return f"{opening}{reply.reasoning}{'' if cut_off else closing}{reply.text}"
