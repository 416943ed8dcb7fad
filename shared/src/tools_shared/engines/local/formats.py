"""Weights in another number format for as long as a model samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_format(model: torch.nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """The model's parameters are rounded to `dtype`; afterwards those that were come back, to the last bit. None: they
    stay as they are. Buffers do so too, such as the frequencies of rotary embeddings, as when a model is loaded."""
    kept = [(p, p.data) for p in model.parameters() if dtype and p.is_floating_point() and p.dtype != dtype]
    try:
        for parameter, data in kept:
            parameter.data = data.to(dtype)
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data
