"""The content of a chat reply in every API's form: text, reasoning, how it ended, refusal, tool calls, tokens.

Read are OpenAI's chat and text completions with the habits of those who speak them (vLLM, SGLang, llama.cpp, LM Studio,
TGI, Azure, OpenRouter, Mistral, Groq, Together, xAI), Ollama's and Cohere's `message`, Anthropic's `content` and
Gemini's `candidates`, which some proxies pass through as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Ending = Literal["stop", "length", "content_filter", "tool_calls", "broken"]

_ENDINGS: Mapping[Ending, re.Pattern[str]] = {
    "content_filter": re.compile(
        r"filter|safety|sensitiv|moderat|polic|prohibit|block|guardrail|refus|toxic|spii|recit|denied"
    ),
    "length": re.compile(
        r"length|max.*(token|output)|token.*(limit|reach)|context|errorlimit|^limit$|truncat|incomplete"
    ),
    "tool_calls": re.compile(r"tool|function"),
    "broken": re.compile(r"error|abort|cancel|timeout|insufficient|unavailable|^load$|^unload$"),
}
_REASONING = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks")
_THINKING_PART = re.compile(r"think|reason|summary")


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a server answered.

    `finish_reason` is `stop`, `length`, `content_filter` or `tool_calls`, whatever the server calls it; `raw_reason` is
    the server's own word. `reasoning` is what servers with a reasoning parser take out of the text. `refusal` is True
    where the model refused in the field for it or a filter withheld the reply (the words of the refusal, if any, are
    then the text), None where the server says nothing. `tool_calls` are the names of the tools that the model called
    instead of answering. Token counts are None where the server does not tell them.
    """

    text: str
    finish_reason: str
    reasoning: str | None = None
    refusal: bool | None = None
    tool_calls: tuple[str, ...] = ()
    tokens_in: int | None = None
    tokens_out: int | None = None
    raw_reason: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to grade: no text, and no refusal that says why."""
        return not self.text.strip() and not self.refusal

    @property
    def why_empty(self) -> str:
        """What an empty reply has instead of a text."""
        ended = f"finish reason {self.raw_reason or 'none'}"
        if self.tool_calls:
            return f"the model called a tool ({', '.join(self.tool_calls)}) instead of answering"
        if self.reasoning and self.reasoning.strip():
            return f"all of the reply was reasoning, {ended}"
        return f"no text at all, {ended}"


def ending_of(reason: Any) -> Ending:
    """How a reply ended, from any of the words for it: `MAX_TOKENS`, `FinishReason.SAFETY`, `content_filter: OTHER`,
    `{"type": "length"}`. Words that say nothing of a limit, a filter, a tool or an error are a stop."""
    if isinstance(reason, Mapping):
        reason = reason.get("type")
    word = re.sub(r"[^a-z]", "", str(reason or "").lower().removeprefix("finishreason").removeprefix("finish_reason"))
    return next((ending for ending, pattern in _ENDINGS.items() if pattern.search(word)), "stop")


def read_chat(data: Any) -> ChatReply:
    """Take a reply apart; raises ValueError saying what is missing."""
    try:
        return _read(data)
    except RecursionError:
        raise ValueError("a reply nested too deeply to be one") from None


def _read(data: Any) -> ChatReply:
    message, reason, usage = _envelope(data)
    text, thought, refusal = _parts(message.get("content", message.get("text", message.get("parts"))), "content")
    text, thought = _harmony(text, thought)
    said = message.get("refusal")
    refusal = refusal or (said if isinstance(said, str) else "")
    ending = "content_filter" if said is True or (not text.strip() and _was_filtered(data)) else ending_of(reason)
    tools = tuple(_tools(message))
    if ending == "stop" and tools and not text.strip():
        ending = "tool_calls"
    tokens_in, tokens_out = _tokens(usage)
    return ChatReply(
        text=text if text.strip() else refusal or text,
        finish_reason="stop" if ending == "broken" else ending,
        reasoning=_reasoning(message) or thought or None,
        refusal=True if refusal.strip() or ending == "content_filter" else None,
        tool_calls=tools,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        raw_reason=None if reason is None else str(reason),
    )


def _harmony(text: str, thought: str) -> tuple[str, str]:
    """Text and reasoning where a server left the channels of OpenAI's open models (harmony) in the text."""
    analysis, final, answer = text.rpartition("<|channel|>final<|message|>")
    if not final:
        return text, thought
    words = re.split(r"<\|(?:channel|start|end|message|return)\|>(?:analysis|assistant)?", analysis)
    return re.split(r"<\|(?:return|end)\|>", answer)[0], thought or "".join(words)


def _was_filtered(data: Any) -> bool:
    """Whether Azure's `content_filter_results` say that something was taken out, whatever the finish reason is."""
    found = (choice_of(data) or {}).get("content_filter_results")
    return isinstance(found, Mapping) and any(
        isinstance(v, Mapping) and v.get("filtered") is True for v in found.values()
    )


def choice_of(data: Any) -> Mapping[str, Any] | None:
    """The first of a reply's choices (Gemini's candidates), None where there is none."""
    for name in ("choices", "candidates"):
        if isinstance(data, Mapping) and isinstance(found := data.get(name), list) and found:
            return found[0] if isinstance(found[0], Mapping) else None
    return None


def reason_of(choice: Mapping[str, Any]) -> Any:
    """The server's own word for how a choice ended; None where it does not say."""
    names = ("finish_reason", "finishReason", "stop_reason", "done_reason", "finish_details")
    return next((choice[name] for name in names if choice.get(name)), None)


def _envelope(data: Any) -> tuple[Mapping[str, Any], Any, Mapping[str, Any]]:
    """The message, the word for its end and the counts of tokens, from whatever they are wrapped in."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, Mapping):
        raise ValueError("no 'choices' in the reply")
    counts = next((u for n in ("usage", "usageMetadata") if isinstance(u := data.get(n), Mapping)), {})
    choice = choice_of(data)
    if choice is not None:
        reason = reason_of(choice)
        message = next((m for n in ("message", "delta", "content") if isinstance(m := choice.get(n), Mapping)), None)
        if message is None and isinstance(choice.get("text"), str):
            message = {"content": choice["text"]}
        if message is None and ending_of(reason) in ("content_filter", "length"):
            message = {}
        if message is None:
            raise ValueError("no 'message' in the first choice")
        return message, reason, counts
    feedback = data.get("promptFeedback")
    if isinstance(feedback, Mapping) and feedback.get("blockReason"):
        return {}, f"blocked: {feedback['blockReason']}", counts
    if isinstance(data.get("message"), Mapping):
        return data["message"], reason_of(data), counts or data
    if isinstance(data.get("content"), list) and reason_of(data):
        return data, reason_of(data), counts
    if data.get("choices"):
        raise ValueError("no 'message' in the first choice")
    raise ValueError(f"no 'choices' in the reply: {' '.join(str(data).split())[:160]}")


def _parts(content: Any, name: str) -> tuple[str, str, str]:
    """Text, reasoning and refusal of a message's content: text, or a list of parts that say of what kind they are."""
    if content is None:
        return "", "", ""
    if isinstance(content, str):
        return content, "", ""
    if isinstance(content, Mapping):
        return _part(content, name)
    if isinstance(content, list):
        found = [_parts(part, name) for part in content]
        return "".join(f[0] for f in found), "".join(f[1] for f in found), "".join(f[2] for f in found)
    raise ValueError(f"'{name}' is {type(content).__name__}, not text")


def _part(part: Mapping[str, Any], name: str) -> tuple[str, str, str]:
    kind = str(part.get("type") or "")
    if kind == "refusal":
        return "", "", _flat(part.get("refusal"))
    if _THINKING_PART.search(kind):
        return "", _flat(next((part[n] for n in ("thinking", "text", "summary", "reasoning") if part.get(n)), "")), ""
    text = next((part[n] for n in ("text", "parts", "content", "value") if part.get(n) is not None), None)
    inner = _parts(text, name)
    return ("", inner[0] + inner[1], inner[2]) if part.get("thought") is True else inner


def _flat(value: Any) -> str:
    """All text of nested parts."""
    return "".join(_parts(value, "thinking")[:2]) if isinstance(value, str | list | Mapping) else ""


def _reasoning(message: Mapping[str, Any]) -> str:
    return next((found for name in _REASONING if (found := _flat(message.get(name)))), "")


def _tools(message: Mapping[str, Any]) -> Iterator[str]:
    """The names of the tools that a message calls: OpenAI's `tool_calls` and `function_call`, Anthropic's parts."""
    lists = {name: found for name in ("tool_calls", "content") if isinstance(found := message.get(name), list)}
    calls, content = lists.get("tool_calls", []), lists.get("content", [])
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type") == "tool_use"]
    older = [message["function_call"]] if isinstance(message.get("function_call"), Mapping) else []
    for call in [*calls, *parts, *older]:
        inner = call.get("function", call) if isinstance(call, Mapping) else {}
        yield str(inner.get("name") or "unnamed") if isinstance(inner, Mapping) else "unnamed"


_COUNTS = (
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
    ("prompt_eval_count", "eval_count"),
    ("promptTokenCount", "candidatesTokenCount"),
)


def _tokens(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Tokens in and out. Where the total is more than both together, the rest is reasoning that was not counted as
    completion (xAI, Gemini), and paid for like it."""
    if isinstance(usage.get("tokens"), Mapping):
        usage = usage["tokens"]
    for name_in, name_out in _COUNTS:
        n_in, n_out = _count(usage.get(name_in)), _count(usage.get(name_out))
        if n_in is not None or n_out is not None:
            total = _count(usage.get("total_tokens", usage.get("totalTokenCount")))
            hidden = 0 if total is None or n_in is None or n_out is None else max(0, total - n_in - n_out)
            return n_in, None if n_out is None else n_out + hidden
    return None, None


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
