"""Which test texts may stand inside which rows: short runs of words that both have, found for many rows at once.

The index holds every second run of RUN words of each test text as a 64-bit hash, some 300 bytes for a text of 50 words.
Rows are taken a block at a time: their texts are joined, made plain and split in a few calls, and the hashes of all
their runs are looked up together, so a row costs time in proportion to its length, whatever the number of test texts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from tools_dedup.spelt import NUMBER_WORDS
from tools_dedup.words import is_sign_word

if TYPE_CHECKING:
    import numpy as np

RUN = 5
STRIDE = 2
MOST_SHARING = 64
"""A run that more test texts than this have tells nothing and is left out, unless a text has no other."""

_ROW_END = "\x02"
_LATEX = re.compile(
    r"\\(?:[dtc]?frac|left|right|text(?:bf|it|rm|tt)?|math(?:rm|bf|bb|cal)|quad|qquad|displaystyle|boxed|cdot|times|begin"
    r"|end|[bB]igg?[lr]?)(?![A-Za-z])|\\[nt](?![A-Za-z])"
)
_THOUSANDS = re.compile(r",(?<=\d,)(?=\d{3}(?!\d))")
_FACTOR = 0x9E3779B97F4A7C15
_BLOCK = 4096


class _Signs(dict[int, str]):
    """For str.translate: letters in small, digits of any script as ASCII, blanks for all else."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        kind = unicodedata.category(sign)
        if sign == _ROW_END:
            made = sign
        elif is_sign_word(sign):
            made = f" {sign} "
        elif kind == "Nd":
            made = str(unicodedata.decimal(sign))
        else:
            made = sign.casefold() if kind[0] in "LMN" else " "
        self[code] = made
        return made


_SIGNS = _Signs()


def plain_words(texts: Sequence[str]) -> list[str]:
    """The words of all texts one after another, each text closed by the word `\\x02`."""
    joined = f" {_ROW_END} ".join(text.replace(_ROW_END, " ") if _ROW_END in text else text for text in (*texts, ""))
    if not joined.isascii():
        joined = unicodedata.normalize("NFKC", joined)
    return _THOUSANDS.sub("", _LATEX.sub(" ", joined)).translate(_SIGNS).split()


class ShingleIndex:
    """The runs of the test texts. `find` gives pairs of a row and a test text that share enough of them."""

    def __init__(self, tests: Sequence[str]) -> None:
        import numpy as np

        self.n_tests = len(tests)
        self._numbers: dict[str, int] = {}
        self._frequency = np.zeros(1024, dtype=np.int64)
        self.n_words = np.zeros(self.n_tests, dtype=np.int32)
        keys, owners, shorter = [], [], []
        for start in range(0, self.n_tests, _BLOCK):
            ids, ends = self._read_tests(tests[start : start + _BLOCK])
            self._count(ids, ends)
            self.n_words[start : start + len(ends) - 1] = np.diff(ends)
            starts, of = _run_starts(ends)
            keys.append(_hashes(ids, RUN)[starts])
            owners.append((of + start).astype(np.int32))
            shorter += [(n, *found) for n in range(1, RUN) for found in _whole(ids, ends, n, start)]
        for word, digits in NUMBER_WORDS.items():
            if digits in self._numbers:
                self._numbers[word] = self._numbers[digits]
        self._index(np.concatenate(keys), np.concatenate(owners), shorter)

    def _read_tests(self, tests: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The words' numbers, and where each text begins among them, with the end of the last."""
        import numpy as np

        number, spelt = self._numbers, NUMBER_WORDS
        found, ends = array("i"), array("q", [0])
        for word in plain_words(tests):
            if word == _ROW_END:
                ends.append(len(found))
            else:
                found.append(number.setdefault(spelt.get(word, word), len(number)))
        return np.array(found, dtype=np.int64), np.array(ends, dtype=np.int64)

    def _count(self, ids: np.ndarray, ends: np.ndarray) -> None:
        """How many texts have each word."""
        import numpy as np

        if len(self._numbers) > len(self._frequency):
            self._frequency = np.pad(self._frequency, (0, 2 * len(self._numbers) - len(self._frequency)))
        owner = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        words = np.unique(owner * len(self._frequency) + ids) % len(self._frequency)
        self._frequency += np.bincount(words, minlength=len(self._frequency))

    def rarity_of(self, word: str) -> float:
        """ln((1 + test texts) / test texts with the word); a word that no test text has counts as if one had it."""
        number = self._numbers.get(word)
        df = max(1, int(self._frequency[number])) if number is not None else 1
        return math.log((1 + self.n_tests) / df)

    def _index(self, keys: np.ndarray, owners: np.ndarray, shorter: list[tuple[int, int, int]]) -> None:
        import numpy as np

        order = np.argsort(keys, kind="stable")
        keys, owners = keys[order], owners[order]
        keep = _telling(keys, owners)
        self._keys, self._owners = keys[keep], owners[keep]
        self.n_runs = np.bincount(self._owners, minlength=self.n_tests).astype(np.int32)
        bits = min(28, max(16, int(len(self._keys) * 8).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._known = np.zeros(1 << bits, dtype=bool)
        self._known[self._keys >> self._shift] = True
        self._shorter: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for length in sorted({n for n, _, _ in shorter}):
            found = sorted((key, test) for n, key, test in shorter if n == length)
            self._shorter[length] = np.array([k for k, _ in found], np.uint64), np.array([t for _, t in found])
            self.n_runs[self._shorter[length][1]] = 1

    def find(self, rows: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, test, runs shared) for each pair that has at least one run in common; `rows` are whole texts."""
        import numpy as np

        words = plain_words(rows)
        ids = np.fromiter(map(self._numbers.get, words, repeat(-1)), np.int64, len(words))
        closed = np.fromiter(map(_ROW_END.__eq__, words), bool, len(words))
        row_of = np.cumsum(closed) - closed
        return _shared(self._hits(ids, row_of), self.n_tests)

    def _hits(self, ids: np.ndarray, row_of: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(row, test, place in the index) for each run that is found."""
        import numpy as np

        hashes = _hashes(ids, RUN)
        near = np.flatnonzero(self._known[hashes >> self._shift])
        yield _look_up(self._keys, self._owners, hashes[near], row_of[near], 0)
        offset = len(self._keys)
        for length, (keys, owners) in self._shorter.items():
            yield _look_up(keys, owners, _hashes(ids, length), row_of, offset)
            offset += len(keys)


def _hashes(ids: np.ndarray, length: int) -> np.ndarray:
    """The hash of the run of `length` words that begins at each place; 0 where it runs over the end or has an unknown
    word (-1)."""
    import numpy as np

    total = np.zeros(len(ids), dtype=np.uint64)
    n = len(ids) - length + 1
    if n <= 0:
        return total
    words = ids.astype(np.uint64) + np.uint64(1)
    known = ids >= 0
    good = np.ones(n, dtype=bool)
    with np.errstate(over="ignore"):
        for i in range(length):
            total[:n] = (total[:n] + words[i : i + n]) * np.uint64(_FACTOR)
            total[:n] ^= total[:n] >> np.uint64(29)
            good &= known[i : i + n]
        total[:n] *= _FACTOR
    total[:n] *= good
    total[n:] = 0
    return total


def _whole(ids: np.ndarray, ends: np.ndarray, length: int, start: int) -> list[tuple[int, int]]:
    """(hash, test) of the texts that are `length` words long, too short for a run."""
    import numpy as np

    of = np.flatnonzero(np.diff(ends) == length)
    return list(zip(_hashes(ids, length)[ends[of]].tolist(), (of + start).tolist(), strict=True)) if len(of) else []


def _run_starts(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the indexed runs begin, every STRIDE words and the last one, and whose they are."""
    import numpy as np

    counts = np.maximum(np.diff(ends) - RUN + 1, 0)
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    use = (place % STRIDE == 0) | (place == counts[owner] - 1)
    return (ends[:-1][owner] + place)[use], owner[use]


def _telling(keys: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Entries whose run few texts have; for a text without any, the first of its runs that fewest have."""
    import numpy as np

    if not len(keys):
        return np.zeros(0, dtype=bool)
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    sharing = counts[inverse]
    keep = sharing <= MOST_SHARING
    bare = np.setdiff1d(owners, owners[keep])
    if len(bare):
        order = np.lexsort((np.arange(len(keys)), sharing, owners))
        first = order[np.unique(owners[order], return_index=True)[1]]
        keep[first[np.isin(owners[first], bare)]] = True
    return keep


def _look_up(
    keys: np.ndarray, owners: np.ndarray, hashes: np.ndarray, rows: np.ndarray, offset: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np

    left = np.searchsorted(keys, hashes, "left")
    n = np.where(hashes > 0, np.searchsorted(keys, hashes, "right") - left, 0)
    at = np.repeat(left - (np.cumsum(n) - n), n) + np.arange(n.sum())
    return np.repeat(rows, n), owners[at].astype(np.int64), at + offset


def _shared(
    hits: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], n_tests: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np

    rows, tests, places = (np.concatenate(parts) for parts in zip(*hits, strict=True))
    size = int(places.max()) + 1 if len(places) else 1
    single = np.unique(rows * size + places, return_index=True)[1]
    pairs, n = np.unique(rows[single] * n_tests + tests[single], return_counts=True)
    return pairs // n_tests, pairs % n_tests, n
