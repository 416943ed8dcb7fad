"""How often each text has each term: sparse rows in three arrays.

Not scipy's: importing it takes longer than ten thousand texts do, and only the search by TF-IDF multiplies matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class TermCounts:
    """Row i has the terms `terms[ends[i]:ends[i + 1]]`, ascending, each `n` times; they are numbers under `n_terms`."""

    ends: np.ndarray
    terms: np.ndarray
    n: np.ndarray
    n_terms: int

    def __len__(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def row_of(self) -> np.ndarray:
        """The row of each entry."""
        import numpy as np

        return np.repeat(np.arange(len(self)), np.diff(self.ends))

    def rows(self, start: int, stop: int) -> TermCounts:
        first, last = self.ends[start], self.ends[min(stop, len(self))]
        ends = self.ends[start : stop + 1] - first
        return TermCounts(ends, self.terms[first:last], self.n[first:last], self.n_terms)

    def take(self, rows: Sequence[int] | np.ndarray) -> TermCounts:
        """These rows, in this order, as often as they are named."""
        import numpy as np

        rows = np.asarray(rows, dtype=np.int64)
        lengths = self.ends[rows + 1] - self.ends[rows]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(ends[-1]) + np.repeat(self.ends[rows] - ends[:-1], lengths)
        return TermCounts(ends, self.terms[at], self.n[at], self.n_terms)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sum of a value for each entry, by row."""
        import numpy as np

        return np.bincount(self.row_of, weights=values, minlength=len(self))

    def matrix(self, dtype: type) -> csr_matrix:
        """(texts, terms) for products."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.n.astype(dtype), self.terms, self.ends), shape=(len(self), self.n_terms))


def from_occurrences(terms: np.ndarray, ends: np.ndarray, n_terms: int) -> TermCounts:
    """Counts of terms that stand as they come: row i has `terms[ends[i]:ends[i + 1]]`; what is under 0 is left out."""
    import numpy as np

    n_rows = len(ends) - 1
    lengths = np.zeros(n_rows + 1, dtype=np.int64)
    found, n = (
        np.empty(len(terms), dtype=np.int32) for _ in range(2)
    )  # more than is needed; what is not used is not held
    filled = 0
    for start in range(0, n_rows, _ROWS_AT_ONCE):
        own = ends[start : start + _ROWS_AT_ONCE + 1]
        lengths[start + 1 : start + len(own)], part, part_n = _counted(terms[own[0] : own[-1]], own, n_terms)
        stop = filled + len(part)
        found[filled:stop], n[filled:stop], filled = part, part_n, stop
    return TermCounts(np.cumsum(lengths), found[:filled], n[:filled], n_terms)


def _counted(terms: np.ndarray, ends: np.ndarray, n_terms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of some rows: how many different terms each has, and those with how often."""
    import numpy as np

    n_rows = len(ends) - 1
    row_of = np.repeat(np.arange(n_rows), np.diff(ends))
    keys, n = np.unique((row_of * n_terms + terms)[terms >= 0], return_counts=True)
    lengths = np.diff(np.searchsorted(keys, np.arange(n_rows + 1) * n_terms))
    return lengths, (keys % n_terms).astype(np.int32), n.astype(np.int32)


@dataclass(frozen=True)
class Shared:
    """Terms that stand in both rows of a pair: the pair, the term, and how often each row has it."""

    pair: np.ndarray
    term: np.ndarray
    n: tuple[np.ndarray, np.ndarray]


def shared_terms(first: TermCounts, second: TermCounts) -> Shared:
    """Of pairs of rows with the same number. Both sides ascend, so a stable sort merges them in linear time."""
    import numpy as np

    sides = [side.row_of * side.n_terms + side.terms for side in (first, second)]
    keys = np.concatenate(sides)
    order = np.argsort(keys, kind="stable")
    both = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    a, b = order[both], order[both + 1] - len(sides[0])
    return Shared(first.row_of[a], first.terms[a], (first.n[a], second.n[b]))
