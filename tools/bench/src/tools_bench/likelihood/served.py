"""Log-probabilities of continuations from a server: text completions that echo the prompt with its log-probabilities.

vLLM, SGLang's and llama-cpp-python's servers do so; OpenAI's chat API does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tools_bench.likelihood.texts import Reading
from tools_shared.engines.http.address import chat_url
from tools_shared.engines.http.exchange import Server
from tools_shared.engines.http.failures import Failure
from tools_shared.engines.http.transport import Reply, Request, post_all
from tools_shared.errors import ToolError

OnReply = Callable[[Reading, list[float] | None, Reply], None]
NO_ECHO = (
    "the server does not return the log-probabilities of the prompt (text completions with echo and logprobs, as vLLM "
    "gives them); use --choice-by generation"
)


def completions_url(endpoint: str) -> str:
    """Where text completions are asked for; raises ToolError for an address that is not OpenAI's API."""
    parts = urlsplit(chat_url(endpoint))
    if not parts.path.endswith("/completions"):
        raise ToolError(f"--choice-by letters and texts need a server with /v1/completions; {NO_ECHO}")
    return urlunsplit(
        parts._replace(path=parts.path.removesuffix("/completions").removesuffix("/chat") + "/completions")
    )


def scores_from_server(server: Server, model: str | None, readings: Sequence[Reading], on_reply: OnReply) -> None:
    """Ask for each item, all its options in one request; `on_reply` gets the scores, None where the request failed."""

    def requests():
        for one in readings:
            body = {"prompt": [one.context + text for text in one.continuations], "echo": True, "logprobs": 1}
            asked = {"model": model} if model else {}
            yield Request(one, {**asked, **body, "max_tokens": 1, "temperature": 0.0})

    def take(request: Request, reply: Reply) -> None:
        scores, failure = None, reply.failure
        if failure is None:
            try:
                scores = read_scores(reply.data, request.key)
            except ValueError as error:
                failure = Failure("invalid", str(error))
        on_reply(request.key, scores, Reply(reply.data, failure, reply.attempts, reply.seconds))

    post_all(server, requests(), take)


def read_scores(data: Any, one: Reading) -> list[float]:
    """The sum over each option's tokens; raises ValueError saying what is missing."""
    choices = data.get("choices") if isinstance(data, Mapping) else None
    if not isinstance(choices, list) or len(choices) != len(one.continuations):
        raise ValueError(f"{len(choices or ())} completions for {len(one.continuations)} prompts in one request")
    ordered = sorted(choices, key=lambda choice: choice.get("index", 0))
    return [_score(choice, one.context, text) for choice, text in zip(ordered, one.continuations, strict=True)]


def _score(choice: Mapping[str, Any], context: str, text: str) -> float:
    found = choice.get("logprobs")
    values, tokens = (found.get("token_logprobs"), found.get("tokens")) if isinstance(found, Mapping) else (None, None)
    if not values or not tokens or len(values) != len(tokens):
        raise ValueError(NO_ECHO)
    offsets = found.get("text_offset") or _offsets(tokens)
    start, end = len(context), len(context) + len(text)
    # A token that begins in the context and ends in the option is the option's; what was generated begins behind it.
    mine = [
        value
        for value, token, offset in zip(values, tokens, offsets, strict=True)
        if offset < end and offset + len(token) > start
    ]
    if not mine or None in mine:
        raise ValueError(NO_ECHO)
    return float(sum(mine))


def _offsets(tokens: Sequence[str]) -> list[int]:
    places, at = [], 0
    for token in tokens:
        places.append(at)
        at += len(token)
    return places
