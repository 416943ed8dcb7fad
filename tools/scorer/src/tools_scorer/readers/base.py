"""The interface that extraction needs of a backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tools_scorer.traces.files import Trace

if TYPE_CHECKING:
    import torch


class Reader(Protocol):
    def read(self, traces: Sequence[Trace]) -> Iterator[tuple[int, torch.Tensor]]:
        """Each trace's index and its states [n_positions, n_layers, hidden], on the CPU, in any order.

        The same traces give the same batches, and so the same bits, on the same machine.
        """


@dataclass(frozen=True)
class ReaderOptions:
    """`layers` are indices of hidden states from 0 (the embedding) up; `final_norm`: the last layer's is normed.

    `stored` and `compute` are fp32, bf16 or fp16; the reader gives `stored`.
    """

    model: str
    layers: tuple[int, ...]
    final_norm: bool
    stored: str
    compute: str
    device: str
    max_batch_tokens: int
