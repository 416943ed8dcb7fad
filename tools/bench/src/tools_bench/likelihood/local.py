"""Log-probabilities of continuations under a model in this process.

A row of a pass is a context with all its options behind it, each of which attends to the context and itself alone, so
that the context is read once. What several contexts begin with (examples, an instruction) is read once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from tools_bench.likelihood.texts import Reading
from tools_shared.engines import Engine
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import torch

    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.engines.local.prefill import Beginning, Ids

OnScores = Callable[[Reading, list[float]], None]
AT_ONCE = 2048
"""Most tokens, padding included, that are read in a pass, where an item does not have more by itself."""
ATTENDED = 32_768
"""Most tokens, the shared beginning included, whose keys and values a pass holds."""


@dataclass(frozen=True)
class TokenisedRow:
    """What is read in a row of a pass: `rests` are the tokens of the options, from `first` of the item's on."""

    reading: Reading
    context: Ids
    rests: tuple[Ids, ...]
    first: int = 0

    @property
    def fed(self) -> list[Ids]:
        """The tokens of the options whose successors are scored too."""
        return [rest[:-1] for rest in self.rests]

    @property
    def n_fed(self) -> int:
        return len(self.context) + sum(map(len, self.fed))


def scores_from_engine(engine: Engine, readings: Sequence[Reading], on_scores: OnScores) -> None:
    """The log-probability (natural logarithm, summed over its tokens) of each continuation, as each item is done.

    Raises ToolError for an engine that does not give them, and for an item that does not fit into the context.
    """
    from tools_bench.likelihood.prefixes import by_beginning
    from tools_shared.engines.local.continuous import has_slots
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.engines.local.prefill import Beginning, read_together

    if not isinstance(engine, TransformersEngine):
        raise ToolError("--choice-by letters and texts need --engine transformers, or a server that echoes the prompt")
    rows = _tokenised(engine, readings)
    with engine.drawing():
        if not has_slots(engine.model.config):  # a window or a state of its own: every option follows its context
            rows = [one for row in rows for one in _apart(row)]
            groups = [(0, list(range(len(rows))))]
        else:
            groups = by_beginning([row.context for row in rows])
        scores: dict[int, dict[int, float]] = {}
        for n_shared, places in groups:
            beginning = Beginning()
            if n_shared:
                (read,) = read_together(engine.model, [rows[places[0]].context[:n_shared]], pad_id=0)
                beginning = Beginning(n_shared, read.layers)
            for batch in _batches([rows[place] for place in places], n_shared):
                for row, found in zip(batch, _read(engine, batch, beginning), strict=True):
                    known = scores.setdefault(id(row.reading), {})
                    known |= {row.first + i: value for i, value in enumerate(found)}
                    if len(known) == len(row.reading.continuations):
                        on_scores(row.reading, [known[i] for i in range(len(known))])


def _tokenised(engine: TransformersEngine, readings: Sequence[Reading]) -> list[TokenisedRow]:
    """The tokens that all options of an item begin with, and those that are left of each: what is scored. A token that
    joins the context's last letter to the option's first counts as the option's."""
    from tools_bench.likelihood.prefixes import common

    contexts = _encoded(engine.tokenizer, [one.context for one in readings])
    whole = iter(_encoded(engine.tokenizer, [one.context + text for one in readings for text in one.continuations]))
    rows = []
    for one, context in zip(readings, contexts, strict=True):
        texts = [next(whole) for _ in one.continuations]
        most = max(map(len, texts))
        if engine.context_length is not None and most > engine.context_length:
            raise ToolError(
                f"{one.item.id}: has {most} tokens, more than the model's {engine.context_length}; leave it out"
            )
        shared = min(common(context, ids) for ids in texts)
        if not shared or min(map(len, texts)) == shared:
            what = "the question" if not shared else "an option"
            raise ToolError(f"{one.item.id}: the tokenizer gives {what} no token of its own; it cannot be scored")
        rows.append(TokenisedRow(one, context[:shared], tuple(ids[shared:] for ids in texts)))
    return rows


def _encoded(tokenizer, texts: Sequence[str]) -> list[Ids]:
    def without_end(ids: Sequence[int]) -> Ids:
        ends = ids and ids[-1] == tokenizer.eos_token_id and ids[-1] != tokenizer.bos_token_id
        return tuple(ids[:-1] if ends else ids)

    return [without_end(ids) for ids in tokenizer(list(texts))["input_ids"]] if texts else []


def _apart(row: TokenisedRow) -> list[TokenisedRow]:
    """A row for each option, unless all are one token: then one row has them all."""
    if not any(row.fed):
        return [row]
    return [TokenisedRow(row.reading, row.context, (rest,), i) for i, rest in enumerate(row.rests)]


def _batches(rows: Sequence[TokenisedRow], n_shared: int) -> Iterator[list[TokenisedRow]]:
    """Rows of about the same length, the longest first: what does not fit into the memory fails at once."""
    batch: list[TokenisedRow] = []
    width = 0
    for row in sorted(rows, key=lambda row: -row.n_fed):
        n = len(batch) + 1
        if batch and (n * width > AT_ONCE or n * (width + n_shared) > ATTENDED):
            yield batch
            batch = []
        if not batch:
            width = row.n_fed - n_shared
        batch.append(row)
    if batch:
        yield batch


def _read(engine: TransformersEngine, rows: Sequence[TokenisedRow], beginning: Beginning) -> list[list[float]]:
    """The scores of each row's options, from one pass over them all, padded on the right."""
    import torch
    from transformers import DynamicCache

    model = engine.model
    fed = [[*row.context[beginning.length :], *chain(*row.fed)] for row in rows]
    width = max(map(len, fed))
    tokens = torch.tensor([[*ids, *[engine.tokenizer.pad_token_id or 0] * (width - len(ids))] for ids in fed])
    places = [_places(row, beginning.length) for row in rows]
    kept = sorted({place for row in places for rest in row for place in rest})
    more: dict[str, object] = {"use_cache": False}
    if beginning.length:
        cache = DynamicCache(config=model.config)
        for i, states in enumerate(beginning.layers):
            cache.update(*(state.expand(len(rows), *state.shape) for state in states), i)
        more = {"past_key_values": cache, "use_cache": True}
    if any(sum(map(bool, row.fed)) > 1 for row in rows):
        more["attention_mask"], more["position_ids"] = _branches(rows, beginning.length, width, model)
    logits = model(tokens.to(model.device), logits_to_keep=torch.tensor(kept, device=model.device), **more).logits
    index = {place: i for i, place in enumerate(kept)}
    return [_sums(logits[i], row, places[i], index) for i, row in enumerate(rows)]


def _places(row: TokenisedRow, n_shared: int) -> list[list[int]]:
    """For each option, the columns whose logits its tokens are scored by: the context's last, then its own."""
    start = len(row.context) - n_shared
    places = []
    for fed in row.fed:
        places.append([len(row.context) - n_shared - 1, *range(start, start + len(fed))])
        start += len(fed)
    return places


def _branches(
    rows: Sequence[TokenisedRow], n_shared: int, width: int, model: torch.nn.Module
) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention mask, (rows, 1, width, shared + width), in which no option sees another, and the positions,
    (rows, width): each option's go on from the context's."""
    import torch

    seen = torch.ones(width, n_shared + width, dtype=torch.bool).tril(n_shared).repeat(len(rows), 1, 1)
    positions = torch.arange(n_shared, n_shared + width).repeat(len(rows), 1)
    for i, row in enumerate(rows):
        length = len(row.context) - n_shared
        start = length
        for fed in row.fed:
            end = start + len(fed)
            seen[i, start:end, n_shared + length : n_shared + start] = False
            positions[i, start:end] = torch.arange(len(row.context), len(row.context) + len(fed))
            start = end
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill_(~seen, torch.finfo(model.dtype).min)
    return mask[:, None].to(model.device), positions.to(model.device)


def _sums(
    logits: torch.Tensor, row: TokenisedRow, places: Sequence[Sequence[int]], index: dict[int, int]
) -> list[float]:
    """The sum over each option's tokens of a row's logits, (kept columns, vocabulary)."""
    wanted = sorted({index[place] for rest in places for place in rest})
    logprobs = logits[wanted].float().log_softmax(-1)
    at = {column: i for i, column in enumerate(wanted)}
    return [
        sum(float(logprobs[at[index[place]], token]) for place, token in zip(mine, rest, strict=True))
        for mine, rest in zip(places, row.rests, strict=True)
    ]
