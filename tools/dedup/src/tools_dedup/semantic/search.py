"""Exact search for the nearest vectors, in blocks of bounded memory.

A float32 product, numpy's or that of faiss, only picks candidates; their cosines are then computed pair by pair in
float64, and a row whose candidates may have left out one as near as its last is gone over again. So a result depends
neither on the library nor on the size of the blocks nor on the shard.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import numpy as np

_SLACK = 3
_THREADS = 2  # they share out a block, so that it takes the memory that it takes in one
MARGIN = 1e-5  # over what float32 sums and rounding to six places can move a cosine of unit vectors


@dataclass(frozen=True)
class Corpus:
    """Unit vectors (m, d) to be searched; `candidates(queries, n)` gives the n most similar of them, in any order."""

    vectors: np.ndarray
    candidates: Callable[[np.ndarray, int], np.ndarray]


def searchable(vectors: np.ndarray, search: str) -> Corpus:
    """`vectors` (m, d) behind the library of `--search`; an approximate one serves `--within` alone."""
    return Corpus(vectors, _flat(vectors) if search == "faiss" else _blocked(vectors))


def check_search(search: str) -> None:
    """Raises ToolError when `--search` needs faiss and it is not installed."""
    if search != "blocked" and importlib.util.find_spec("faiss") is None:
        raise ToolError(f"--search {search} needs faiss; pip install 'tools-dedup[faiss]', or leave --search out")


def _blocked(corpus: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    import numpy as np

    def candidates(queries: np.ndarray, n: int) -> np.ndarray:
        if n == len(corpus):
            return np.tile(np.arange(n), (len(queries), 1))
        return np.argpartition(queries @ corpus.T, len(corpus) - n, axis=1)[:, -n:]

    return candidates


def _flat(corpus: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    import faiss
    import numpy as np

    index = faiss.IndexFlatIP(corpus.shape[1])
    index.add(np.ascontiguousarray(corpus, dtype=np.float32))
    return lambda queries, n: index.search(np.ascontiguousarray(queries, dtype=np.float32), n)[1]


def nearest(
    queries: Callable[[int, int], np.ndarray], n_queries: int, corpus: Corpus, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of `corpus` (m, d) for each query: indices and cosines, (n_queries, min(k, m)).

    `queries(start, stop)` gives unit vectors. Largest cosine first, ties by index.
    """
    import numpy as np

    k = min(k, len(corpus.vectors))
    found = np.empty((n_queries, k), dtype=np.int64)
    cosines = np.empty((n_queries, k), dtype=np.float64)
    step = -(-block // _THREADS)

    def fill(start: int) -> None:
        stop = min(start + step, n_queries)
        found[start:stop], cosines[start:stop] = _nearest_of(queries(start, stop), corpus, k)

    with ThreadPoolExecutor(_THREADS) as threads:  # numpy and faiss let go of the interpreter
        list(threads.map(fill, range(0, n_queries, step)))
    return found, cosines


def _nearest_of(vectors: np.ndarray, corpus: Corpus, k: int) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    n_candidates = min(k + _SLACK, len(corpus.vectors))
    at = corpus.candidates(vectors, n_candidates)
    exact = pair_cosines(vectors, corpus.vectors, at)
    order = np.lexsort((at, -exact), axis=1)
    found, cosines = (np.take_along_axis(values, order, 1) for values in (at, exact))
    if n_candidates < len(corpus.vectors):
        for row in np.flatnonzero(cosines[:, -1] >= cosines[:, k - 1] - MARGIN):
            lowest = cosines[row, k - 1] - MARGIN
            found[row, :k], cosines[row, :k] = _nearest_above(vectors[row], corpus.vectors, k, lowest)
    return found[:, :k], cosines[:, :k]


def _nearest_above(vector: np.ndarray, corpus: np.ndarray, k: int, lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of all that reach `lowest`, however many they are: more may be equal than were candidates."""
    import numpy as np

    at = np.flatnonzero(corpus @ vector >= lowest)
    exact = pair_cosines(vector[None], corpus, at[None])[0]
    order = np.lexsort((at, -exact))[:k]
    return at[order], exact[order]


def pair_cosines(vectors: np.ndarray, corpus: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Cosines of vectors[i] with corpus[at[i, j]], (n, k), to six places."""
    import numpy as np

    result = np.empty(at.shape)
    wide = vectors.astype(np.float64)
    for j in range(at.shape[1]):
        result[:, j] = np.einsum("nd,nd->n", wide, corpus[at[:, j]].astype(np.float64))
    return result.round(6)
