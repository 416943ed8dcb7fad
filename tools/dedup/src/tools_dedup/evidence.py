"""How alike two texts are in words and numbers, for many pairs at once.

Five figures describe a pair; a calibration (see `calibration`) makes one probability of them:

    cosine       of the model's vectors; without a model, of TF-IDF vectors of terms
    numbers      rarity-weighted overlap of the number multisets: shared over all; 0.5 where neither text has any
    containment  rarity-weighted share of the poorer text's words that the other has
    overlap      rarity-weighted shared words over all words of the two (weighted Jaccard)
    length       shorter over longer, in words

A word's rarity is its inverse document frequency, ln((1 + n) / (1 + df)) + 1, over all distinct texts of the training
and test sets together, so what a template shares with thousands of rows counts for little.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tools_dedup.words import pieces, term_of

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

FEATURES = ("cosine", "numbers", "containment", "overlap", "length")
NO_NUMBERS = 0.5
SHORT_WORDS = 5
SHORT_OVERLAP = 0.9
_PAIRS_AT_ONCE = 8192
_TEXTS_AT_ONCE = 2048


@dataclass(frozen=True)
class Terms:
    """Term counts of some texts: CSR (texts, vocabulary), the rarity of each term and which terms are numbers."""

    counts: csr_matrix
    rarity: np.ndarray
    is_number: np.ndarray

    def rows(self, start: int, stop: int) -> Terms:
        return Terms(self.counts[start:stop], self.rarity, self.is_number)

    @cached_property
    def words(self) -> csr_matrix:
        """1 where a text has a word, numbers left out."""
        return self._only(~self.is_number, binary=True)

    @cached_property
    def numbers(self) -> csr_matrix:
        """How often a text has a number."""
        return self._only(self.is_number, binary=False)

    @cached_property
    def word_weight(self) -> np.ndarray:
        return self.words @ self.rarity

    @cached_property
    def number_weight(self) -> np.ndarray:
        return self.numbers @ self.rarity

    @cached_property
    def length(self) -> np.ndarray:
        """Words and numbers in each text."""
        import numpy as np

        return np.asarray(self.counts.sum(axis=1)).ravel()

    @cached_property
    def tfidf(self) -> csr_matrix:
        """Rows of unit length, weighted (1 + ln count) x rarity."""
        import numpy as np

        weighted = self.counts.astype(np.float32)
        weighted.data = (1 + np.log(weighted.data)) * self.rarity[weighted.indices].astype(np.float32)
        norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        weighted.data /= np.repeat(np.maximum(norm, 1e-9), np.diff(weighted.indptr)).astype(np.float32)
        return weighted

    @cached_property
    def tfidf_columns(self) -> csr_matrix:
        return self.tfidf.T.tocsr()

    def _only(self, columns: np.ndarray, binary: bool) -> csr_matrix:
        import numpy as np

        chosen = self.counts.astype(np.float64)
        chosen.data = np.where(columns[chosen.indices], 1.0 if binary else chosen.data, 0.0)
        chosen.eliminate_zeros()
        return chosen


def count_terms(first: Sequence[str], second: Sequence[str]) -> tuple[Terms, Terms]:
    """The terms of the training texts and of the test texts, over one vocabulary and one rarity."""
    import numpy as np
    from scipy.sparse import csr_matrix

    vocabulary = _Vocabulary()
    ends, numbers = array("q", [0]), array("i")
    for text in (*first, *second):
        numbers.extend(map(vocabulary.__getitem__, pieces(text)))
        ends.append(len(numbers))
    indices = np.frombuffer(numbers, dtype=np.int32)
    counts_too = indices >= 0
    indptr = np.concatenate([[0], np.cumsum(counts_too)])[np.frombuffer(ends, dtype=np.int64)]
    indices = indices[counts_too]
    n_texts = len(first) + len(second)
    matrix = csr_matrix((np.ones(len(indices), np.int32), indices, indptr), shape=(n_texts, len(vocabulary.terms)))
    matrix.sum_duplicates()
    frequency = np.bincount(matrix.indices, minlength=len(vocabulary.terms))
    rarity = np.log((1 + n_texts) / (1 + frequency)) + 1
    is_number = np.fromiter((term.startswith("#") for term in vocabulary.terms), bool, len(vocabulary.terms))
    whole = Terms(matrix, rarity, is_number)
    return whole.rows(0, len(first)), whole.rows(len(first), n_texts)


class _Vocabulary(dict[str, int]):
    """The number of each piece's term, -1 for a piece without one; a piece is looked into once, whatever its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[str, int] = {}

    def __missing__(self, piece: str) -> int:
        term = term_of(piece)
        self[piece] = -1 if term is None else self.terms.setdefault(term, len(self.terms))
        return self[piece]


def nearest_by_terms(train: Terms, tests: Terms, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k tests with the largest TF-IDF cosine for each training text: indices and cosines, (texts, k).

    Largest first, ties by index; -1 where fewer than k share a term.
    """
    import numpy as np

    found = np.full((train.counts.shape[0], k), -1, dtype=np.int64)
    cosines = np.zeros((train.counts.shape[0], k), dtype=np.float64)
    for start in range(0, len(found), _TEXTS_AT_ONCE):
        block = (train.tfidf[start : start + _TEXTS_AT_ONCE] @ tests.tfidf_columns).tocsr()
        for i in range(block.shape[0]):
            own = slice(block.indptr[i], block.indptr[i + 1])
            best = _largest(block.data[own], block.indices[own], k)
            found[start + i, : len(best)] = block.indices[own][best]
            cosines[start + i, : len(best)] = block.data[own][best]
    return found, cosines.round(6)


def _largest(values: np.ndarray, indices: np.ndarray, k: int) -> np.ndarray:
    import numpy as np

    if len(values) > 4 * k:
        edge = np.partition(values, len(values) - k)[len(values) - k]
        at = np.flatnonzero(values >= edge)
    else:
        at = np.arange(len(values))
    return at[np.lexsort((indices[at], -values[at]))][:k]


def pair_features(
    train: Terms, tests: Terms, train_ids: np.ndarray, test_ids: np.ndarray, cosine: np.ndarray
) -> np.ndarray:
    """The five figures of pairs (train_ids[i], test_ids[i]): (pairs, 5) in the order of FEATURES."""
    import numpy as np

    result = np.empty((len(train_ids), len(FEATURES)))
    result[:, 0] = cosine
    for start in range(0, len(train_ids), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        a, b = train_ids[part], test_ids[part]
        shared = train.words[a].multiply(tests.words[b]) @ train.rarity
        result[part, 1] = _number_overlap(train, tests, a, b)
        wa, wb = train.word_weight[a], tests.word_weight[b]
        result[part, 2] = shared / np.maximum(np.minimum(wa, wb), 1e-9)
        result[part, 3] = shared / np.maximum(wa + wb - shared, 1e-9)
        la, lb = train.length[a], tests.length[b]
        result[part, 4] = np.minimum(la, lb) / np.maximum(np.maximum(la, lb), 1)
    return result.round(6)


def _number_overlap(train: Terms, tests: Terms, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    import numpy as np

    shared = train.numbers[a].minimum(tests.numbers[b]) @ train.rarity
    union = train.number_weight[a] + tests.number_weight[b] - shared
    return np.where(union > 0, shared / np.maximum(union, 1e-9), NO_NUMBERS)


def too_short(train: Terms, tests: Terms, train_ids: np.ndarray, test_ids: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pairs with a text of fewer than 5 words that are not nearly equal: a few common words prove nothing."""
    import numpy as np

    short = np.minimum(train.length[train_ids], tests.length[test_ids]) < SHORT_WORDS
    alike = (pairs[:, 3] >= SHORT_OVERLAP) & ((pairs[:, 1] >= SHORT_OVERLAP) | (pairs[:, 1] == NO_NUMBERS))
    return short & ~alike


def numbers_differ(train: Terms, tests: Terms, train_ids: np.ndarray, test_ids: np.ndarray) -> np.ndarray:
    """Pairs where each text has a number that the other lacks: twins of one template, as the guard sees them."""
    import numpy as np

    result = np.empty(len(train_ids), dtype=bool)
    for start in range(0, len(train_ids), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        a, b = train.numbers[train_ids[part]], tests.numbers[test_ids[part]]
        n_shared = np.asarray(a.minimum(b).sum(axis=1)).ravel()
        n_a, n_b = (np.asarray(side.sum(axis=1)).ravel() for side in (a, b))
        result[part] = (n_a > n_shared) & (n_b > n_shared)
    return result
