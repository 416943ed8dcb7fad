"""Exact search for the nearest vectors, in blocks of bounded memory.

The blocked product only picks candidates; their cosines are then computed pair by pair in float64, so a result
depends neither on the size of the blocks nor on the shard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_SLACK = 3


def nearest(
    queries: Callable[[int, int], np.ndarray], n_queries: int, corpus: np.ndarray, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of `corpus` (m, d) for each query: indices and cosines, (n_queries, min(k, m)).

    `queries(start, stop)` gives unit vectors. Largest cosine first, ties by index.
    """
    import numpy as np

    k = min(k, len(corpus))
    found = np.empty((n_queries, k), dtype=np.int64)
    cosines = np.empty((n_queries, k), dtype=np.float64)
    for start in range(0, n_queries, block):
        stop = min(start + block, n_queries)
        vectors = queries(start, stop)
        found[start:stop], cosines[start:stop] = _nearest_of(vectors, corpus, k)
    return found, cosines


def _nearest_of(vectors: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    n_candidates = min(k + _SLACK, len(corpus))
    similar = vectors @ corpus.T
    if n_candidates < len(corpus):
        at = np.argpartition(similar, len(corpus) - n_candidates, axis=1)[:, -n_candidates:]
    else:
        at = np.tile(np.arange(len(corpus)), (len(vectors), 1))
    exact = pair_cosines(vectors, corpus, at)
    order = np.lexsort((at, -exact), axis=1)[:, :k]
    return np.take_along_axis(at, order, 1), np.take_along_axis(exact, order, 1)


def pair_cosines(vectors: np.ndarray, corpus: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cosines of vectors[i] with corpus[at[i, j]], (n, k), to six places."""
    import numpy as np

    result = np.empty(at.shape)
    wide = vectors.astype(np.float64)
    for j in range(at.shape[1]):
        result[:, j] = np.einsum("nd,nd->n", wide, corpus[at[:, j]].astype(np.float64))
    return result.round(6)
