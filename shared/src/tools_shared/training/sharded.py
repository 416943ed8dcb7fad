"""The whole of a model whose weights are spread over the processes of a run (FSDP2).

While it is trained each process holds a part of every weight. Sampling, evaluating and saving read all of them, and
each process in a rhythm of its own, which the sharded model's forward would not bear: it gathers every layer from all
processes. So the weights are gathered once into a plain copy, which is used and then dropped.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_shared.models.load import Loaded

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def skeleton(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of a model that is not sharded yet, its parameters without values: what `whole` fills."""
    import torch

    return _copied(model, [torch.empty_like(part, device="meta") for part in model.parameters()], "cpu")


def whole(loaded: Loaded, device: str | None = None, keep: bool = True) -> Loaded:
    """`loaded` itself; where it is sharded, a plain copy with its current weights on `device` (default: where it is).

    All processes have to call it, also those that do not `keep` it: theirs has no values.
    """
    if loaded.skeleton is None:
        return loaded
    place = device or str(loaded.model.device)
    values = []
    for empty, part in zip(loaded.skeleton.parameters(), loaded.model.parameters(), strict=True):
        value = _gathered(part)
        values.append(value.to(place) if keep else empty)
    return Loaded(_copied(loaded.skeleton, values, place).eval(), loaded.tokenizer, loaded.ref)


def _gathered(part: torch.Tensor) -> torch.Tensor:
    from torch.distributed.tensor import DTensor

    return part.detach().full_tensor() if isinstance(part, DTensor) else part.detach()


def _copied(model: PreTrainedModel, values: Sequence[torch.Tensor], device: str) -> PreTrainedModel:
    """A copy with other parameters, in the order of `model.parameters()`; tied ones stay tied."""
    from torch import nn

    parts = list(model.parameters())
    # What `deepcopy` finds in its memo it takes for the copy.
    memo = {
        id(part): nn.Parameter(value, requires_grad=part.requires_grad)
        for part, value in zip(parts, values, strict=True)
    }
    memo |= {id(buffer): buffer.to(device, copy=True) for buffer in model.buffers()}
    return copy.deepcopy(model, memo)
