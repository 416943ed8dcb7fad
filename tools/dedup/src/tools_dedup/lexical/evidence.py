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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tools_dedup.lexical.term_counts import TermCounts, from_occurrences, shared_terms
from tools_dedup.lexical.words import pieces, term_of

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
    """Term counts of some texts, the rarity of each term and the value of each that is a number (NaN for words)."""

    counts: TermCounts
    rarity: np.ndarray
    value: np.ndarray

    def rows(self, start: int, stop: int) -> Terms:
        return Terms(self.counts.rows(start, stop), self.rarity, self.value)

    def take(self, rows: Sequence[int]) -> Terms:
        return Terms(self.counts.take(rows), self.rarity, self.value)

    @cached_property
    def is_number(self) -> np.ndarray:
        """Whether a term is a number."""
        import numpy as np

        return ~np.isnan(self.value)

    @cached_property
    def word_weight(self) -> np.ndarray:
        """The summed rarity of each text's different words."""
        terms = self.counts.terms
        return self.counts.sums(self.rarity[terms] * ~self.is_number[terms])

    @cached_property
    def number_weight(self) -> np.ndarray:
        """The summed rarity of each text's numbers, as often as it has them."""
        terms = self.counts.terms
        return self.counts.sums(self.counts.n * self.rarity[terms] * self.is_number[terms])

    @cached_property
    def n_numbers(self) -> np.ndarray:
        """How many different numbers each text has, 1 not counted."""
        terms = self.counts.terms
        return self.counts.sums(self.is_number[terms] & (self.value[terms] != 1))

    @cached_property
    def length(self) -> np.ndarray:
        """Words and numbers in each text."""
        return self.counts.sums(self.counts.n)

    @cached_property
    def tfidf(self) -> csr_matrix:
        """Rows of unit length, weighted (1 + ln count) x rarity."""
        import numpy as np

        weighted = self.counts.matrix(np.float32)
        weighted.data = (1 + np.log(weighted.data)) * self.rarity[weighted.indices].astype(np.float32)
        norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        weighted.data /= np.repeat(np.maximum(norm, 1e-9), np.diff(weighted.indptr)).astype(np.float32)
        return weighted

    @cached_property
    def tfidf_columns(self) -> csr_matrix:
        return self.tfidf.T.tocsr()


def count_terms(first: Sequence[str], second: Sequence[str]) -> tuple[Terms, Terms]:
    """The terms of the training texts and of the test texts, over one vocabulary and one rarity."""
    import numpy as np

    vocabulary = _Vocabulary()
    ends, numbers = array("q", [0]), array("i")
    for text in (*first, *second):
        numbers.extend(map(vocabulary.__getitem__, pieces(text)))
        ends.append(len(numbers))
    n_texts, names = len(first) + len(second), vocabulary.terms
    occurrences = np.frombuffer(numbers, dtype=np.int32), np.frombuffer(ends, dtype=np.int64)
    counts = from_occurrences(*occurrences, max(1, len(names)))
    frequency = np.bincount(counts.terms, minlength=counts.n_terms)
    rarity = np.log((1 + n_texts) / (1 + frequency)) + 1
    value = np.full(counts.n_terms, np.nan)
    value[: len(names)] = [_value(name) for name in names]
    whole = Terms(counts, rarity, value)
    return whole.rows(0, len(first)), whole.rows(len(first), n_texts)


def _value(name: str) -> float:
    """Of a term's number; infinite where it is too large for a float."""
    if not name.startswith("#"):
        return float("nan")
    top, _, bottom = name[1:].partition("/")
    return float(top) / float(bottom or 1)


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

    found = np.full((len(train.counts), k), -1, dtype=np.int64)
    cosines = np.zeros((len(train.counts), k), dtype=np.float64)
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
        shared_words, shared_numbers = _shared_weights(train, tests, a, b)
        union = train.number_weight[a] + tests.number_weight[b] - shared_numbers
        result[part, 1] = np.where(union > 0, shared_numbers / np.maximum(union, 1e-9), NO_NUMBERS)
        wa, wb = train.word_weight[a], tests.word_weight[b]
        result[part, 2] = shared_words / np.maximum(np.minimum(wa, wb), 1e-9)
        result[part, 3] = shared_words / np.maximum(wa + wb - shared_words, 1e-9)
        la, lb = train.length[a], tests.length[b]
        result[part, 4] = np.minimum(la, lb) / np.maximum(np.maximum(la, lb), 1)
    return result.round(6)


def _shared_weights(train: Terms, tests: Terms, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The summed rarity of the words, and of the numbers, that both texts of each pair (a[i], b[i]) have."""
    import numpy as np

    shared = shared_terms(train.counts.take(a), tests.counts.take(b))
    is_number, rarity = train.is_number[shared.term], train.rarity[shared.term]
    words = np.bincount(shared.pair, weights=rarity * ~is_number, minlength=len(a))
    return words, np.bincount(shared.pair, weights=np.minimum(*shared.n) * rarity * is_number, minlength=len(a))


def too_short(train: Terms, tests: Terms, train_ids: np.ndarray, test_ids: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Pairs with a text of fewer than 5 words that are not nearly equal: a few common words prove nothing."""
    import numpy as np

    short = np.minimum(train.length[train_ids], tests.length[test_ids]) < SHORT_WORDS
    alike = (pairs[:, 3] >= SHORT_OVERLAP) & ((pairs[:, 1] >= SHORT_OVERLAP) | (pairs[:, 1] == NO_NUMBERS))
    return short & ~alike


UNITS = (60.0, 3600.0, 24.0, 7.0, 12.0, 100.0, 1000.0)
"""By what a number changes when its unit does: minutes, hours, days, weeks, months, per cent, metres."""


def numbers_differ(train: Terms, tests: Terms, train_ids: np.ndarray, test_ids: np.ndarray) -> np.ndarray:
    """Pairs where each text has a number that the other lacks: twins of one template, as the guard sees them.

    1 is no such number, for "one" is often a pronoun; nor is one that the other text has in another unit (half an hour,
    30 minutes) or the other way round (half as many, twice as many).
    """
    import numpy as np

    result = np.zeros(len(train_ids), dtype=bool)
    for start in range(0, len(train_ids), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        a, b = train.counts.take(train_ids[part]), tests.counts.take(test_ids[part])
        counted = train.is_number & (train.value != 1)
        shared = shared_terms(a, b)
        both = np.minimum(*shared.n) * counted[shared.term]
        n_shared = np.bincount(shared.pair, weights=both, minlength=len(a))
        n_a, n_b = (side.sums(side.n * counted[side.terms]) for side in (a, b))
        for i in np.flatnonzero((n_a > n_shared) & (n_b > n_shared)):
            result[start + i] = _differ(_numbers_of(a, i, train.value), _numbers_of(b, i, train.value))
    return result


def _numbers_of(side: TermCounts, i: int, value: np.ndarray) -> Counter[float]:
    own = slice(side.ends[i], side.ends[i + 1])
    values = zip(value[side.terms[own]].tolist(), side.n[own].tolist(), strict=True)
    return Counter({number: n for number, n in values if number == number})


def _differ(first: Counter[float], second: Counter[float]) -> bool:
    """Whether each has a number that the other lacks in any unit."""
    extra = first - second, second - first
    return all(any(not _has(other, number) for number in one if number != 1) for one, other in (extra, extra[::-1]))


def _has(numbers: Counter[float], wanted: float) -> bool:
    """Whether one of the numbers is the wanted one in another unit, or its reciprocal."""
    for number in numbers:
        ratio = max(wanted, number) / max(min(wanted, number), 1e-12)
        if any(abs(ratio / unit - 1) < 1e-9 for unit in UNITS) or abs(wanted * number - 1) < 1e-9:
            return True
    return False
