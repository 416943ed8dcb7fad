"""The rows that a scorer learns from: chosen once, read from the mapped shards block by block.

What stays in memory is an index (24 bytes a row) and one buffer. Each epoch the blocks are shuffled, as many as fit
the buffer are read, and the buffer's rows are shuffled; where all rows fit, they are read once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_scorer.states.folder import Hidden
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import Features, ReadAt, select_features
from tools_shared.states.shards import Split, TraceInfo

if TYPE_CHECKING:
    import numpy as np
    import torch

BLOCK = 256
"""Rows read together: neighbours in the file, so that reading is sequential."""


@dataclass(frozen=True)
class RowSet:
    """Rows of one split. For each row: which shard it is in and where, its label (0/1), its weight (mean 1), and the
    number of its question."""

    hidden: Hidden
    shard: np.ndarray
    place: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    question: np.ndarray
    features: Features

    def __len__(self) -> int:
        return len(self.place)

    @property
    def input_size(self) -> int:
        manifest = self.hidden.manifest
        return manifest.hidden_size * (len(manifest.layers) if self.features == "concat" else 1)

    @property
    def n_questions(self) -> int:
        return int(self.question.max(initial=-1)) + 1

    def read(self, rows: np.ndarray) -> torch.Tensor:
        """The features [n, input_size] of these rows (positions in this set, rising), in the stored number format.

        Raises ToolError naming the shard where one is not finite.
        """
        import numpy as np
        import torch

        parts = []
        for number in np.unique(self.shard[rows]):
            shard = self.hidden.shards[number]
            places = torch.from_numpy(self.place[rows[self.shard[rows] == number]])
            part = select_features(shard.states()[places], self.features)
            if not torch.isfinite(part).all():
                raise ToolError(f"{shard.path}: contains NaN or infinite states; extract it again with --dtype bf16")
            parts.append(part)
        return torch.cat(parts)

    def blocks(self) -> Iterator[torch.Tensor]:
        """All rows, in order, a block at a time."""
        import numpy as np

        for start in range(0, len(self), BLOCK):
            yield self.read(np.arange(start, min(start + BLOCK, len(self))))


def choose_rows(
    hidden: Hidden,
    split: Split,
    features: Features,
    ratio: float = 1.0,
    weighting: str = "step",
    seed: int = 0,
    read_at: ReadAt = "steps",
) -> RowSet:
    """The labelled rows of a split; of each trace a share `ratio`, one row at least, sampled by seed and trace, or the
    last one with `read_at` "end".

    A row's label is its step's own where the trace has such, else the trace's. With `weighting` "trace" the rows of a
    trace weigh as much together as those of any other.
    """
    import numpy as np

    parts: list[list[np.ndarray]] = []
    numbers: dict[str, int] = {}
    for number, shard in enumerate(hidden.shards):
        pointers = shard.row_pointers.tolist()
        mine: list[tuple[np.ndarray, ...]] = []
        for i, trace in enumerate(shard.traces()):
            n = pointers[i + 1] - pointers[i]
            if trace.split != split or trace.is_correct is None or not n:
                continue
            steps = np.array([n - 1]) if read_at == "end" else _sampled(n, ratio, seed, trace)
            question = numbers.setdefault(trace.question_id, len(numbers))
            weight = 1 / len(steps) if weighting == "trace" else 1.0
            label = trace.is_correct if trace.step_labels is None else np.array(trace.step_labels)[steps]
            mine.append(tuple(_repeat(steps + pointers[i], number, label, weight, question)))
        if mine:
            parts.append(_joined(mine))
    if not parts:
        return RowSet(hidden, *(np.zeros(0, t) for t in ("i4", "i8", "f4", "f4", "i4")), features)
    shards, places, labels, weights, questions = _joined(parts)
    return RowSet(hidden, shards, places, labels, (weights / weights.mean()).astype("f4"), questions, features)


def _joined(parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Column by column."""
    import numpy as np

    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _repeat(
    places: np.ndarray, shard: int, label: bool | np.ndarray, weight: float, question: int
) -> Iterator[np.ndarray]:
    """`label` is one for all rows, or [n]."""
    import numpy as np

    n = len(places)
    yield np.full(n, shard, "i4")
    yield places.astype("i8")
    yield np.full(n, label, "f4")
    yield np.full(n, weight, "f4")
    yield np.full(n, question, "i4")


def _sampled(n: int, ratio: float, seed: int, trace: TraceInfo) -> np.ndarray:
    """Which of a trace's n rows, rising."""
    import numpy as np

    if ratio >= 1:
        return np.arange(n)
    rng = np.random.default_rng([seed, *trace.trace_id.encode()])
    return np.sort(rng.choice(n, max(1, int(n * ratio)), replace=False))


def check_learnable(rows: RowSet, split: Split, least_questions: int = 2) -> None:
    """Raise ToolError with the counts when a split has one class only or too few questions."""
    n_right = int(rows.label.sum())
    if rows.n_questions < least_questions:
        raise ToolError(
            f"{rows.hidden.path}: {rows.n_questions} questions in the {split} split, at least {least_questions} "
            "are needed; extract more traces, or give that split a larger share in tools-scorer preprocess"
        )
    if n_right in (0, len(rows)):
        which = "right" if n_right else "wrong"
        raise ToolError(
            f"{rows.hidden.path}: all {len(rows)} steps of the {split} split are of {which} traces; a scorer needs "
            "both: sample harder or easier questions, or keep every attempt (tools-traces --emit graded --keep all)"
        )


@dataclass(frozen=True)
class Scale:
    """What the inputs are standardised with: (x - mean) / std, each [input_size] in float64."""

    mean: torch.Tensor
    std: torch.Tensor


def standardisation(rows: RowSet) -> Scale:
    """Mean and deviation over the rows, in one pass (Chan et al. 1983); a constant input keeps its size."""
    import torch

    n, mean, squares = 0, torch.zeros(rows.input_size, dtype=torch.float64), 0.0
    for block in rows.blocks():
        block = block.double()
        delta, n_new = block.mean(0) - mean, n + len(block)
        squares = squares + ((block - block.mean(0)) ** 2).sum(0) + delta**2 * (n * len(block) / n_new)
        mean, n = mean + delta * (len(block) / n_new), n_new
    std = (squares / n).sqrt()
    return Scale(mean, torch.where(std > 1e-6 * (1 + mean.abs()), std, 1.0))


class Feed:
    """Standardised batches of a set's rows; `dtype` is that of the batches."""

    def __init__(self, rows: RowSet, scale: Scale, dtype: torch.dtype, memory_mb: int) -> None:
        self.rows, self.dtype = rows, dtype
        self._mean, self._scale = scale.mean.float(), (1 / scale.std).float()
        size = self._mean.element_size() if dtype.itemsize == 4 else 2
        self._fits = max(BLOCK, (memory_mb << 20) // (rows.input_size * size * 2))  # twice: blocks, then their join
        self._all: torch.Tensor | None = None

    def batches(
        self, batch_size: int, seed: Sequence[int], together: bool
    ) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
        """Batches of one epoch, [n, input_size] with the rows' positions; with `together` the rows of a question
        follow one another, so that a batch has pairs."""
        import numpy as np
        import torch

        rng = np.random.default_rng(list(seed))
        for rows, x in self._buffers(rng):
            order = _grouped(self.rows.question[rows], rng) if together else rng.permutation(len(rows))
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                yield x[torch.from_numpy(part)], rows[part]

    def in_order(self) -> Iterator[torch.Tensor]:
        """All rows once, in order."""
        for block in self.rows.blocks():
            yield self._standardised(block)

    def _buffers(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        import numpy as np
        import torch

        n = len(self.rows)
        if n <= self._fits:
            if self._all is None:
                self._all = torch.cat(list(self.in_order()))
            yield np.arange(n), self._all
            return
        starts = rng.permutation(np.arange(0, n, BLOCK))
        per_buffer = self._fits // BLOCK
        for first in range(0, len(starts), per_buffer):
            chosen = [np.arange(s, min(s + BLOCK, n)) for s in np.sort(starts[first : first + per_buffer])]
            yield np.concatenate(chosen), torch.cat([self._standardised(self.rows.read(part)) for part in chosen])

    def _standardised(self, block: torch.Tensor) -> torch.Tensor:
        return block.float().sub_(self._mean).mul_(self._scale).to(self.dtype)


def _grouped(questions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order in which the rows of a question stay together."""
    import numpy as np

    rank = rng.permutation(int(questions.max()) + 1)
    return np.lexsort((rng.random(len(questions)), rank[questions]))
