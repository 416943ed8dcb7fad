"""Log-probabilities of continuations under a model in this process.

What the options of an item have in common is read once; where each is one token, one pass over the context is all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tools_bench.likelihood.texts import Reading
from tools_shared.engines import Engine
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.engines.local.prefill import Ids

OnScores = Callable[[Reading, list[float]], None]
AT_ONCE = 16
"""Contexts that are read together."""


def scores_from_engine(engine: Engine, readings: Sequence[Reading], on_scores: OnScores) -> None:
    """The log-probability (natural logarithm, summed over its tokens) of each continuation, as each item is done.

    Raises ToolError for an engine that does not give them, and for an item that does not fit into the context.
    """
    import torch

    from tools_shared.engines.local.engine import TransformersEngine

    if not isinstance(engine, TransformersEngine):
        raise ToolError("--choice-by letters and texts need --engine transformers, or a server that echoes the prompt")
    split = [(one, *_tokens(engine, one)) for one in readings]
    short = [(one, context, rests) for one, context, rests in split if all(len(rest) == 1 for rest in rests)]
    long = [(one, context, rests) for one, context, rests in split if any(len(rest) != 1 for rest in rests)]
    with torch.inference_mode():
        engine.model.eval()
        short.sort(key=lambda part: -len(part[1]))
        for start in range(0, len(short), AT_ONCE):
            _one_token_each(engine, short[start : start + AT_ONCE], on_scores)
        for one, context, rests in long:
            on_scores(one, _several_tokens(engine, context, rests))


def _tokens(engine: TransformersEngine, one: Reading) -> tuple[Ids, list[Ids]]:
    """The tokens that all options begin with, and those that are left of each: what is scored. A token that joins the
    context's last letter to the option's first counts as the option's."""
    encode = engine.tokenizer
    context = _encoded(encode, one.context)
    whole = [_encoded(encode, one.context + text) for text in one.continuations]
    most = max(map(len, whole))
    if engine.context_length is not None and most > engine.context_length:
        raise ToolError(
            f"{one.item.id}: has {most} tokens, more than the model's {engine.context_length}; leave it out"
        )
    shared = min(_common(context, ids) for ids in whole)
    if not shared:
        raise ToolError(f"{one.item.id}: the tokenizer gives the question no token of its own; it cannot be scored")
    return context[:shared], [ids[shared:] for ids in whole]


def _encoded(tokenizer, text: str) -> Ids:
    ids = tuple(tokenizer(text)["input_ids"])
    ends = ids and ids[-1] == tokenizer.eos_token_id and ids[-1] != tokenizer.bos_token_id
    return ids[:-1] if ends else ids


def _common(a: Ids, b: Ids) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _one_token_each(
    engine: TransformersEngine, parts: Sequence[tuple[Reading, Ids, list[Ids]]], on_scores: OnScores
) -> None:
    from tools_shared.engines.local.prefill import read_together

    read = read_together(engine.model, [context for _, context, _ in parts], engine.tokenizer.pad_token_id or 0)
    for (one, _, rests), found in zip(parts, read, strict=True):
        logprobs = found.logits.float().log_softmax(-1)
        on_scores(one, [float(logprobs[rest[0]]) for rest in rests])


def _several_tokens(engine: TransformersEngine, context: Ids, rests: Sequence[Ids]) -> list[float]:
    """The context but for its last token is read once; that token and each rest follow, padded, as a batch."""
    import torch
    from transformers import DynamicCache

    from tools_shared.engines.local.prefill import read_together

    model, pad = engine.model, engine.tokenizer.pad_token_id or 0
    rows = [(context[-1], *rest) for rest in rests]
    width = max(map(len, rows))
    tokens = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=model.device)
    cache = DynamicCache(config=model.config)
    if len(context) > 1:
        (read,) = read_together(model, [context[:-1]], pad)
        for i, states in enumerate(read.layers):
            cache.update(*(state.expand(len(rows), *state.shape) for state in states), i)
    logprobs = model(tokens, past_key_values=cache, use_cache=True).logits.float().log_softmax(-1)
    return [
        sum(float(logprobs[row, place, token]) for place, token in enumerate(rest)) for row, rest in enumerate(rests)
    ]
