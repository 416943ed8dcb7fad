"""Which test texts may stand inside which rows: short runs of words that both have, found for many rows at once.

The index holds every second run of RUN words of each test text as a 64-bit hash, some 300 bytes for a text of 50 words.
Rows are taken a block at a time: their texts are joined, made plain and split in a few calls, and the hashes of all
their runs are looked up together, so a row costs time in proportion to its length, whatever the number of test texts.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING

from tools_dedup.lexical.spelt import NUMBER_WORDS
from tools_dedup.lexical.words import is_sign_word

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
_BLOCK = 1024
_UNKNOWN, _CLOSED = -1, -2
_BITS_A_RUN = 8
_PARTS, _KEYS_AT_ONCE = 16, 1 << 16


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
        self._numbers = _Numbers()
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
        self._numbers.close()
        self._index(*_ascending(keys, owners), shorter)

    def _read_tests(self, tests: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The words' numbers, and where each text begins among them, with the end of the last."""
        import numpy as np

        words = plain_words(tests)
        found = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        closed = np.flatnonzero(found == _CLOSED)
        return found[found != _CLOSED], np.concatenate([[0], closed - np.arange(len(closed))])

    def _count(self, ids: np.ndarray, ends: np.ndarray) -> None:
        """How many texts have each word."""
        import numpy as np

        if self._numbers.n > len(self._frequency):
            self._frequency = np.pad(self._frequency, (0, 2 * self._numbers.n - len(self._frequency)))
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

        if (left_out := _told_by_many(keys, owners, self.n_tests)).any():
            keys, owners = keys[~left_out], owners[~left_out]
        self._keys, self._owners = keys, owners
        self.n_runs = np.bincount(owners, minlength=self.n_tests).astype(np.int32)
        bits = min(28, max(16, int(len(keys) * _BITS_A_RUN).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._known = _bitmap(keys, self._shift, 1 << bits)
        self._shorter: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for length in sorted({n for n, _, _ in shorter}):
            found = sorted((key, test) for n, key, test in shorter if n == length)
            self._shorter[length] = np.array([k for k, _ in found], np.uint64), np.array([t for _, t in found])
            self.n_runs[self._shorter[length][1]] = 1

    def find(self, rows: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, test, runs shared) for each pair that has at least one run in common; `rows` are whole texts."""
        import numpy as np

        words = plain_words(rows)
        ids = np.fromiter(map(self._numbers.get, words, repeat(_UNKNOWN)), np.int64, len(words))
        closed = ids == _CLOSED
        row_of = np.cumsum(closed) - closed
        return _shared(self._hits(ids, row_of), self.n_tests)

    def _hits(self, ids: np.ndarray, row_of: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(row, test, place in the index) for each run that is found."""
        import numpy as np

        hashes = _hashes(ids, RUN)
        place = (hashes >> self._shift).astype(np.int64)
        near = np.flatnonzero((self._known[place >> 3] >> (place & 7).astype(np.uint8)) & 1)
        yield _look_up(self._keys, self._owners, hashes[near], row_of[near], 0)
        offset = len(self._keys)
        for length, (keys, owners) in self._shorter.items():
            yield _look_up(keys, owners, _hashes(ids, length), row_of, offset)
            offset += len(keys)


class _Numbers(dict[str, int]):
    """The number of each word, in the order in which the tests bring them; a number word has that of its digits."""

    def __init__(self) -> None:
        super().__init__({_ROW_END: _CLOSED})
        self.n = 0

    def __missing__(self, word: str) -> int:
        digits = NUMBER_WORDS.get(word, word)
        if digits != word:
            self[word] = self[digits]
        else:
            self[word] = self.n
            self.n += 1
        return self[word]

    def close(self) -> None:
        """Number words that no test has are known where their digits are."""
        self.update({word: self[digits] for word, digits in NUMBER_WORDS.items() if digits in self})


def _ascending(keys: list[np.ndarray], owners: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All keys ascending, with their owners: sorted a part of their range at a time, which takes less memory."""
    import numpy as np

    n = sum(map(len, keys))
    result, theirs, start = np.empty(n, np.uint64), np.empty(n, np.int32), 0
    for part in range(_PARTS):
        chosen = [key >> np.uint64(64 - _PARTS.bit_length() + 1) == part for key in keys]
        own = np.concatenate([key[at] for key, at in zip(keys, chosen, strict=True)])
        order = np.argsort(own, kind="stable")
        stop = start + len(own)
        result[start:stop] = own[order]
        theirs[start:stop] = np.concatenate([owner[at] for owner, at in zip(owners, chosen, strict=True)])[order]
        start = stop
    return result, theirs


def _hashes(ids: np.ndarray, length: int) -> np.ndarray:
    """The hash of the run of `length` words that begins at each place; 0 where it runs over the end or has an unknown
    word (under 0)."""
    import numpy as np

    result = np.zeros(len(ids), dtype=np.uint64)
    n = len(ids) - length + 1
    if n <= 0:
        return result
    words = ids.astype(np.uint64) + np.uint64(1)
    known = ids >= 0
    total, good = result[:n], np.ones(n, dtype=bool)
    with np.errstate(over="ignore"):
        for i in range(length):
            total += words[i : i + n]
            total *= np.uint64(_FACTOR)
            total ^= total >> np.uint64(29)
            good &= known[i : i + n]
        total *= np.uint64(_FACTOR)
    total *= good
    return result


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


def _told_by_many(keys: np.ndarray, owners: np.ndarray, n_tests: int) -> np.ndarray:
    """Of ascending keys, those that more than MOST_SHARING entries have; but for a text without any other, the first
    of its runs that fewest have."""
    import numpy as np

    many = np.unique(keys[MOST_SHARING:][keys[MOST_SHARING:] == keys[:-MOST_SHARING]])
    left_out = np.zeros(len(keys), dtype=bool)
    starts, stops = np.searchsorted(keys, many, "left"), np.searchsorted(keys, many, "right")
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        left_out[start:stop] = True
    told = np.zeros(n_tests, dtype=bool)
    told[owners[~left_out]] = True
    at = np.flatnonzero(left_out & ~told[owners])
    sharing = (stops - starts)[np.searchsorted(many, keys[at])] if len(at) else at
    order = np.lexsort((at, sharing, owners[at]))
    left_out[at[order[np.unique(owners[at][order], return_index=True)[1]]]] = False
    return left_out


def _bitmap(keys: np.ndarray, shift: np.uint64, n_bits: int) -> np.ndarray:
    """A bit for each value that the keys' first bits can have, eight to a byte; set where a key has it."""
    import numpy as np

    bits = np.zeros(n_bits // 8, dtype=np.uint8)
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        place = (keys[start : start + _KEYS_AT_ONCE] >> shift).astype(np.int64)
        np.bitwise_or.at(bits, place >> 3, np.left_shift(1, place & 7).astype(np.uint8))
    return bits


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
