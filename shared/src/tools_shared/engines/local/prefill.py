"""Prefill: the prompts' keys and values by layer, and the logits of the first new token.

One by one where nothing may depend on its company, to the last bit; several at a time, ahead of their use, where all
prompts are known and rounding may differ: then what they all begin with (instructions, examples) is read only once.
With short prompts this is several times faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import DynamicCache, PreTrainedModel

AHEAD_PROMPTS = 16
AHEAD_TOKENS = 2048
"""Most prompts, and most tokens with padding, read at a time; what they give waits in memory until it is used."""

MIN_SHARED = 16
"""Fewer tokens that all prompts begin with are read with each: a past costs attention a mask."""

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """`layers` hold keys and values, each (heads, prompt length, head size); `logits` are (vocabulary,)."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    logits: torch.Tensor


@dataclass(frozen=True, eq=False)
class Beginning:
    """What prompts have in common, read: its keys and values by layer, each (heads, length, head size)."""

    length: int = 0
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()


class PrefillReader(Protocol):
    """Reads the prompts that a batch asks for; called in `torch.inference_mode`."""

    def __call__(self, ids: Ids) -> ReadPrompt: ...


@dataclass(frozen=True)
class OneByOne:
    """Each prompt by itself, when it is asked for."""

    model: PreTrainedModel

    def __call__(self, ids: Ids) -> ReadPrompt:
        (found,) = read_together(self.model, [ids], pad_id=0)
        return found


class Ahead:
    """Prompts that are known from the start, in the order in which they will be asked for."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Ids], pad_id: int) -> None:
        self.model, self.pad_id = model, pad_id
        self.prompts = list(dict.fromkeys(prompts))
        self.place = {ids: i for i, ids in enumerate(self.prompts)}
        self.waiting: dict[Ids, ReadPrompt] = {}
        self.beginning: Beginning | None = None

    def __call__(self, ids: Ids) -> ReadPrompt:
        if ids not in self.waiting:
            self.beginning = self.beginning or self._begin()
            chosen = self._next(self.place[ids])
            read = read_together(self.model, chosen, self.pad_id, self.beginning)
            self.waiting |= zip(chosen, read, strict=True)
        return self.waiting.pop(ids)

    def _begin(self) -> Beginning:
        shared = _shared(self.prompts)
        if len(self.prompts) == 1 or len(shared) < MIN_SHARED:
            return Beginning()
        (found,) = read_together(self.model, [shared], self.pad_id)
        return Beginning(len(shared), found.layers)

    def _next(self, start: int) -> list[Ids]:
        """The prompts from `start` on that fit into one reading; the first in any case."""
        chosen: list[Ids] = []
        width = 0
        for ids in self.prompts[start : start + AHEAD_PROMPTS]:
            width = max(width, len(ids))
            if chosen and (len(chosen) + 1) * width > AHEAD_TOKENS:
                break
            chosen.append(ids)
        return chosen


def _shared(prompts: Sequence[Ids]) -> Ids:
    """What all prompts begin with, but for the last token of the shortest: each keeps one, whose logits count."""
    first, last = min(prompts), max(prompts)  # in the order of words: what these two share, all between them share
    most = min(map(len, prompts)) - 1
    n = next((i for i in range(most) if first[i] != last[i]), most)
    return first[:n]


def read_together(
    model: PreTrainedModel, prompts: Sequence[Ids], pad_id: int, beginning: Beginning = Beginning()
) -> list[ReadPrompt]:
    """Read prompts in one pass, padded on the right: causal attention keeps a prompt from its own padding, so no mask
    is needed, and what is there is cut. All of them have to begin with `beginning`."""
    rests = [ids[beginning.length :] for ids in prompts]
    width = max(map(len, rests))
    tokens = torch.tensor([[*ids, *[pad_id] * (width - len(ids))] for ids in rests], device=model.device)
    cache = DynamicCache(config=model.config)
    for i, states in enumerate(beginning.layers):
        cache.update(*(state.expand(len(prompts), *state.shape) for state in states), i)
    last = sorted({len(ids) - 1 for ids in rests})
    kept = torch.tensor(last, device=model.device)
    logits = model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=kept).logits
    return [
        ReadPrompt(
            [(layer.keys[row, :, : len(ids)], layer.values[row, :, : len(ids)]) for layer in cache.layers],
            logits[row, last.index(len(ids) - beginning.length - 1)],
        )
        for row, ids in enumerate(prompts)
    ]
