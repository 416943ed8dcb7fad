"""Reading prompts: their keys and values by layer, and the logits of the first token that follows.

One by one where nothing may depend on its company, to the last bit; several at a time, ahead of their use, where all
prompts are known and rounding may differ. With short prompts the second is several times faster.
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

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ReadPrompt:
    """`layers` hold keys and values, each (heads, prompt length, head size); `logits` are (vocabulary,)."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    logits: torch.Tensor


class Reader(Protocol):
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

    def __call__(self, ids: Ids) -> ReadPrompt:
        if ids not in self.waiting:
            chosen = self._next(self.place[ids])
            self.waiting |= zip(chosen, read_together(self.model, chosen, self.pad_id), strict=True)
        return self.waiting.pop(ids)

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


def read_together(model: PreTrainedModel, prompts: Sequence[Ids], pad_id: int) -> list[ReadPrompt]:
    """Read prompts in one pass, padded on the right: causal attention keeps a prompt from its own padding, so no mask
    is needed, and what stands there is cut off."""
    lengths = [len(ids) for ids in prompts]
    width = max(lengths)
    tokens = torch.tensor([[*ids, *[pad_id] * (width - len(ids))] for ids in prompts], device=model.device)
    cache = DynamicCache(config=model.config)
    last = sorted(set(lengths))
    kept = torch.tensor([length - 1 for length in last], device=model.device)
    logits = model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=kept).logits
    return [
        ReadPrompt(
            [(layer.keys[row, :, :length], layer.values[row, :, :length]) for layer in cache.layers],
            logits[row, last.index(length)],
        )
        for row, length in enumerate(lengths)
    ]
