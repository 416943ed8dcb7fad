"""What is odd about a server's reply, each with the option that would fix it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tools_shared.answers import answer_anywhere, extract
from tools_shared.engines.http.failures import Failure
from tools_shared.engines.http.replies import ChatReply
from tools_shared.prompts import Profile
from tools_shared.records import Message

_SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|<(?:end|start)_of_turn>|</s>|<s>|<eos>|<bos>|\[/?INST\]|<<SYS>>"
)
_NEXT_TURN = re.compile(r"\n[ \t#*]*(User|Human|Question|Q|Problem|Instruction)\s*:")
_TWICE = re.compile(r"^\s*(<s>|<bos>|<\|begin_of_text\|>|<\|startoftext\|>|<｜begin▁of▁sentence｜>)\s*\1")


def advice_on_failure(failure: Failure, models: Sequence[str], model: str | None) -> list[str]:
    """Sentences for a request without a reply."""
    return list(_on_failure(failure, models, model))


def _on_failure(failure: Failure, models: Sequence[str], model: str | None) -> Iterator[str]:
    if models and (model is None or model not in models):
        named = "no model is named" if model is None else f"the server has no model '{model}'"
        yield f"{named}: pass --model-name with one of {', '.join(models)}"
    if failure.kind == "connection":
        yield "nothing answers at this address: start the server, or correct --endpoint (host and port)"
    elif failure.kind == "timeout":
        yield "the server did not answer in time: raise --timeout, or lower --max-new-tokens"
    elif failure.kind == "invalid":
        yield "the answer is no chat reply: --endpoint should be the base of an OpenAI-compatible API (http://host/v1)"
    elif failure.status in (401, 403):
        yield "the server wants a key: put it into an environment variable and pass --api-key-env NAME"
    elif failure.status in (404, 405) and not models:
        yield "there is nothing at this path: --endpoint should end with /v1, or with the API's full path"
    elif failure.status in (400, 422):
        keys = [name for name in failure.names if re.fullmatch(r"[a-z][a-z_]*", name)]
        which = f"--drop {keys[0]}" if keys else "--drop KEY for the key that it names"
        yield f"the server refuses a part of the request: {which}, or change it with --extra-body"
    elif failure.status == 429 or (failure.status or 0) >= 500:
        yield "the server is busy or broken: run again later; runs retry by themselves (--max-retries, --rate-limit)"


def advice_on_reply(reply: ChatReply, profile: Profile, messages: Sequence[Message], limit: int) -> list[str]:
    """Sentences for a reply: what would be lost or misread in a run."""
    return list(_on_reply(reply, profile, messages, limit))


def _on_reply(reply: ChatReply, profile: Profile, messages: Sequence[Message], limit: int) -> Iterator[str]:
    if reply.is_empty:
        yield f"the reply is empty ({reply.why_empty})" + (
            ": raise --max-new-tokens, or turn thinking off with "
            '--extra-body \'{"chat_template_kwargs": {"enable_thinking": false}}\''
            if reply.reasoning
            else ": look at the server's log and its chat template"
        )
    elif reply.finish_reason == "length":
        yield f"the reply was cut after {limit} tokens: raise --max-new-tokens, or see why the model does not stop"
    if special := _SPECIAL.search(reply.text):
        yield (
            f"the text contains {special[0]}, a token of the template: the server does not stop there, or shows "
            f"special tokens; pass --stop '{special[0]}'"
        )
    if turn := _NEXT_TURN.search(reply.text):
        yield (
            f"the model writes the next turn itself ({turn[0].strip()}): pass --stop '\\n{turn[0].strip()}'; a base "
            "model without a chat template is asked at .../v1/completions"
        )
    if reply.raw_reason is None and not reply.is_empty:
        yield "the server does not say how the reply ended: truncated replies are told by their number of tokens alone"
    if reply.tokens_in is None or reply.tokens_out is None:
        yield "the server counts no tokens: costs are estimated from the length of the texts"
    n_words = sum(len(message.content.split()) for message in messages)
    if reply.tokens_in is not None and reply.tokens_in < n_words:
        yield (
            f"the server counts {reply.tokens_in} prompt tokens for {n_words} words: it cuts the prompt, or leaves the "
            "system message out; raise the server's context length, or look at its template"
        )
    if not reply.is_empty and reply.finish_reason != "length":
        yield from _on_answer(reply.text, profile)


def _on_answer(text: str, profile: Profile) -> Iterator[str]:
    if extract(text, profile).answer is not None:
        return
    anywhere = answer_anywhere(text, profile)
    if anywhere.answer is None:
        yield "no answer can be found in the text: try another --profile, or a larger model"
    else:
        yield (
            f"the answer is not marked as the profile '{profile.name}' asks "
            f"({profile.answer[0]}...{profile.answer[1]}), it was found by {anywhere.method}: accuracy counts it as "
            "missing and accuracy_lenient does not; try another --profile"
        )


def advice_on_template(template: str | None, messages: Sequence[Message]) -> list[str]:
    """Sentences for the prompt that the server's template makes; nothing where it is not shown."""
    if template is None:
        return []
    said = " ".join(template.split())
    found = [
        f"the template leaves the {message.role} message out: "
        + ("models for which that matters need another chat template on the server" if message.role == "system" else "")
        for message in messages
        if " ".join(message.content.split()) not in said
    ]
    if twice := _TWICE.match(template):
        found.append(f"the prompt begins with {twice[1]} twice: the template and the tokenizer both add it")
    return [sentence.rstrip(": ") for sentence in found]
