"""Approximate search among the rows that `--within` has kept so far, for sets where comparing all pairs takes days.

Vectors are sorted into cells around k-means centres (faiss IVF, flat lists), and a row is compared with what lies in
the cells nearest to it. What is found has its cosine computed again, so a row may stay that exact search would have
removed, but none goes that does not reach the threshold. Centres come from a fixed seed; a graph (HNSW) was not
taken because what it links depends on how its threads fall.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tools_dedup.semantic.search import MARGIN, pair_cosines

if TYPE_CHECKING:
    import numpy as np

N_PROBED = 32
N_NEAREST = 64
_TRAINED_ON = 64  # texts a centre is made from; more move it little and k-means is the larger part of the work
_SMALLEST = 39  # texts below which faiss calls a centre undertrained


class Cells:
    """Kept rows of `space` (n, d), unit vectors; `near` finds those most similar to other rows."""

    def __init__(self, space: np.ndarray) -> None:
        import faiss
        import numpy as np

        self._space = np.ascontiguousarray(space, dtype=np.float32)
        n, width = self._space.shape
        n_cells = max(1, min(int(4 * math.sqrt(n)), n // _SMALLEST))
        self._index = faiss.index_factory(width, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
        self._index.cp.max_points_per_centroid = _TRAINED_ON
        self._index.nprobe = N_PROBED
        self._index.train(self._space)

    def add(self, rows: np.ndarray) -> None:
        self._index.add_with_ids(self._space[rows], rows)

    def near(self, rows: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray]:
        """Of each row's N_NEAREST nearest found, ascending, the exact cosine; -inf where it is surely under `floor`."""
        import numpy as np

        vectors = self._space[rows]
        about, found = self._index.search(vectors, N_NEAREST)
        cosines = np.full(found.shape, -np.inf)
        likely = (found >= 0) & (about >= floor - MARGIN)
        for j in range(N_NEAREST):
            at = np.flatnonzero(likely[:, j])
            cosines[at, j] = pair_cosines(vectors[at], self._space, found[at, j, None])[:, 0]
        order = np.argsort(found, axis=1)
        return np.take_along_axis(found, order, 1), np.take_along_axis(cosines, order, 1)
