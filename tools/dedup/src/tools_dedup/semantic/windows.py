"""`--long chunk`: texts over the model's limit are compared by overlapping windows; the best pair of windows counts.

A model cuts a text at its limit without a word; the rest is then not compared at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_dedup.decision.rules import Candidates
from tools_dedup.semantic.models import EncoderRef
from tools_dedup.semantic.search import nearest, searchable
from tools_dedup.semantic.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np

_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True)
class Windowed:
    """Windows of texts: those of text i have the vectors `starts[i]` to `starts[i + 1]`."""

    vectors: Vectors
    starts: np.ndarray


def split(texts: Sequence[str], model: EncoderRef) -> tuple[list[str], list[int]]:
    """Every text's windows in order, and how many each has. A text within the limit is its own only window.

    A window holds as many tokens as the model takes; the next begins half a window later.
    """
    if model.max_tokens is None:
        return list(texts), [1] * len(texts)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    size = max(2, model.max_tokens - tokenizer.num_special_tokens_to_add(is_pair=False))
    windows: list[str] = []
    counts: list[int] = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        part = list(texts[start : start + _TEXTS_AT_ONCE])
        for text, found in zip(part, tokenizer.encode_batch(part, add_special_tokens=False), strict=True):
            made = _windows(text, found.offsets, size)
            windows += made
            counts.append(len(made))
    return windows, counts


def _windows(text: str, offsets: Sequence[tuple[int, int]], size: int) -> list[str]:
    if len(offsets) <= size:
        return [text]
    starts = [*range(0, len(offsets) - size, size // 2), len(offsets) - size]
    return [text[offsets[start][0] : offsets[start + size - 1][1]] for start in starts]


def starts_of(counts: Sequence[int]) -> np.ndarray:
    import numpy as np

    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def by_windows(train: Windowed, tests: Windowed, k: int, chunk_size: int, search: str) -> Candidates:
    """Candidates of texts start to stop by the cosine of their best pair of windows: (indices, cosines), (texts, k)."""
    import numpy as np

    corpus = searchable(tests.vectors.all(), search)
    sizes = np.diff(tests.starts)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n_windows = k * int(sizes.max())  # however the windows fall, these hold the best k texts

    def find(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        first, last = int(train.starts[start]), int(train.starts[stop])
        at, cosines = nearest(
            lambda a, b: train.vectors.block(first + a, first + b), last - first, corpus, n_windows, chunk_size
        )
        found = np.full((stop - start, k), -1, dtype=np.int64)
        best = np.zeros((stop - start, k))
        for i in range(stop - start):
            own = slice(int(train.starts[start + i]) - first, int(train.starts[start + i + 1]) - first)
            ids, values = _best_of(owner[at[own]].ravel(), cosines[own].ravel(), k)
            found[i, : len(ids)], best[i, : len(ids)] = ids, values
        return found, best

    return find


def _best_of(owners: np.ndarray, cosines: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k owners with the largest of their cosines; largest first, ties by index."""
    import numpy as np

    order = np.lexsort((owners, -cosines))
    _, first = np.unique(owners[order], return_index=True)
    chosen = order[np.sort(first)][:k]
    return owners[chosen], cosines[chosen]
