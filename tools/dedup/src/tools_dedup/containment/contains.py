"""Test texts that stand inside longer rows, and rows that stand inside longer test texts: found without a model.

Every text in a row is looked at: each turn of a conversation, question, answer, steps, whatever its key. A pair that
shares enough runs of words (see `shingles`) is aligned word by word. A row goes when the words of the test text stand
in it in their order, all its numbers among them:

    8 words or more   a share of them, weighted by rarity, in runs of which one has at least LONGEST_RUN words: from
                      all of them at 8 words down to MIN_SHARE from LONG words on
    4 to 7 words      all of them in one run that is a whole sentence, line or text of the row
    fewer             all of them, as one whole text of the row

A word's weight is ln((1 + n) / df) over the n test texts, half of that for one of up to three letters, so what a test
set's template repeats counts for little, and a row's fate depends on that row and the test set alone. Two signs of a
script without blanks count as one word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tools_dedup.containment.align import Run, aligned
from tools_dedup.containment.shingles import ShingleIndex
from tools_dedup.lexical.words import is_of_a_language, is_sign_word, tokens

MIN_SHARE, SURE_SHARE, LONG = 0.7, 1.0, 25
LONGEST_RUN = 8
SHORT, SHORTEST = 8, 4
MIN_RUNS = 0.25
"""Share of a text's indexed runs that a row must have before the two are aligned."""
ROW_WORDS, ROW_SHARE = 10, 0.95
"""Words of a row, and the share of them, that must stand in a longer test text."""
BLOCK = 2048
_MOST_CANDIDATES = 8
_EDGES = ".?!:;\n\"'*()[]。？！：；।"


@dataclass(frozen=True, slots=True)
class Contained:
    """Test text `test` occurs in a row, or with `reverse` the row in the test text. `share` of the words, weighted;
    `places` are (key, start, end) in the row's texts, `spans` what is there."""

    test: int
    share: float
    reverse: bool
    places: tuple[tuple[str, int, int], ...]
    spans: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "inside": "row in test" if self.reverse else "test in row",
            "share": self.share,
            "places": [{"key": key, "start": start, "end": end} for key, start, end in self.places],
            "spans": list(self.spans),
        }


@dataclass(frozen=True, slots=True)
class Word:
    """A term with its text (an index) and its place there."""

    term: str
    text: int
    start: int
    end: int


Reading = tuple[list[str], list[float], float]
"""A text's terms, their weights, and its length in words."""


def texts_of(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every text in a row with its dotted key, in the row's order."""
    waiting: list[tuple[str, Any]] = [("", data)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, Mapping):
            waiting += [(f"{key}.{k}" if key else str(k), v) for k, v in reversed(value.items()) if v]
        elif isinstance(value, list | tuple):
            waiting += [(f"{key}.{i}", v) for i, v in reversed(list(enumerate(value))) if v]


class Containment:
    """Finds contained test texts; rows are handed over one at a time and looked at in blocks."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = tests
        self._index = ShingleIndex(tests) if tests else None
        self._waiting: list[tuple[int, str, Mapping[str, Any]]] = []
        self._test_words = lru_cache(maxsize=4096)(self._read_test)
        self.found: dict[int, Contained] = {}

    def add(self, row: int, compared: str, data: Mapping[str, Any]) -> None:
        """A row by its number, the text that it is compared by, and all of it."""
        if not self._tests:
            return
        self._waiting.append((row, compared, data))
        if len(self._waiting) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Look at the rows that wait."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            parts = [list(texts_of(data)) for _, _, data in waiting]
            joined = ["\n".join(text for _, text in found) for found in parts]
            plain = [i for i, text in enumerate(joined) if text.isascii()]
            other = [i for i, text in enumerate(joined) if not text.isascii()]
            for group in (plain, other):
                self._look([joined[i] for i in group], [waiting[i] for i in group], [parts[i] for i in group])

    def _look(self, joined: list[str], rows: list[tuple[int, str, Mapping[str, Any]]], parts: list) -> None:
        candidates: dict[int, list[tuple[float, int]]] = {}
        for i, test, n in zip(*(found.tolist() for found in self._index.find(joined)), strict=True):
            share = n / max(1, int(self._index.n_runs[test]))
            if share >= MIN_RUNS or n >= MIN_RUNS * self._runs_of(rows[i][1]):
                candidates.setdefault(i, []).append((share, test))
        for i, found in candidates.items():
            number, compared, _ = rows[i]
            best = self._best(parts[i], compared, [test for _, test in sorted(found, reverse=True)[:_MOST_CANDIDATES]])
            if best:
                self.found[number] = best

    def _runs_of(self, text: str) -> float:
        return max(2.0, len(text) / 12)

    def _best(self, parts: list[tuple[str, str]], compared: str, tests: list[int]) -> Contained | None:
        """The best of the test texts; where other languages are about, numbers are also read as if there were none: the
        text around a copy may be of another language than the copy."""
        found = self._best_read(parts, compared, tests, True)
        if found is None and any(map(is_of_a_language, (*(t for _, t in parts), *(self._tests[t] for t in tests)))):
            found = self._best_read(parts, compared, tests, False)
        return found

    def _best_read(
        self, parts: list[tuple[str, str]], compared: str, tests: list[int], by_language: bool
    ) -> Contained | None:
        words = [
            Word(token.term, n, token.start, token.end)
            for n, (_, text) in enumerate(parts)
            for token in tokens(text, by_language)
        ]
        terms = [word.term for word in words]
        own = None
        best = None
        for test in tests:
            wanted = self._test_words(test, by_language)
            found = self._in_row(test, wanted, words, terms, parts)
            if found is None:
                own = own or self._read(compared, by_language)
                found = self._in_test(test, wanted, own, parts, compared)
            if found and (best is None or found.share > best.share):
                best = found
        return best

    def _read_test(self, test: int, by_language: bool) -> Reading:
        """A test text's terms, their weights, and its length in words."""
        return self._read(self._tests[test], by_language)

    def _read(self, text: str, by_language: bool) -> Reading:
        found = list(tokens(text, by_language))
        weights = [self._weight(token.term, text[token.start : token.end]) for token in found]
        return [token.term for token in found], weights, n_words(text, found)

    def _weight(self, term: str, written: str) -> float:
        if term.startswith("#"):
            return self._index.rarity_of(term[1:])
        return self._index.rarity_of(written.casefold()) * (0.5 if len(written) <= 3 and written.isascii() else 1)

    def _in_row(
        self, test: int, reading: Reading, words: list[Word], terms: list[str], parts: list[tuple[str, str]]
    ) -> Contained | None:
        wanted, weights, length = reading
        if not wanted:
            return None
        runs = aligned(wanted, terms)
        covered = {i for run in runs for i in range(run.first, run.first + run.size)}
        if not runs or any(term.startswith("#") and i not in covered for i, term in enumerate(wanted)):
            return None
        share = sum(weights[i] for i in covered) / sum(weights)
        if length < SHORT:
            if len(covered) < len(wanted) or not _stands_alone(runs, words, parts, length):
                return None
        elif share < _least_share(length) or max(run.size for run in runs) < min(LONGEST_RUN, len(wanted)):
            return None
        return _contained(test, share, False, runs, words, parts)

    def _in_test(
        self, test: int, reading: Reading, own: Reading, parts: list[tuple[str, str]], compared: str
    ) -> Contained | None:
        mine, weights, length = own
        wanted, _, test_length = reading
        if length < ROW_WORDS or test_length <= length:
            return None
        runs = aligned(mine, wanted)
        covered = {i for run in runs for i in range(run.first, run.first + run.size)}
        if not runs or any(term.startswith("#") and i not in covered for i, term in enumerate(mine)):
            return None
        share = sum(weights[i] for i in covered) / sum(weights)
        telling = sum(weights[i] for i in covered) / len(mine)
        if share < ROW_SHARE or max(run.size for run in runs) < LONGEST_RUN or telling < self._usual / 2:
            return None
        key = next((key for key, text in parts if text == compared), "")
        return Contained(test, round(share, 6), True, ((key, 0, len(compared)),), (compared,))

    @property
    def _usual(self) -> float:
        """The mean weight of a word of the first test texts."""
        if not hasattr(self, "_mean"):
            weights = [w for test in range(min(200, len(self._tests))) for w in self._test_words(test, True)[1]]
            self._mean = sum(weights) / max(1, len(weights))
        return self._mean


def _least_share(length: float) -> float:
    """The share of a test text's words that must stand in a row."""
    return SURE_SHARE - (SURE_SHARE - MIN_SHARE) * min(1.0, (length - SHORT) / (LONG - SHORT))


def n_words(text: str, found: Sequence[Any]) -> float:
    """Words of a text, two signs of a script without blanks for one."""
    n_signs = sum(token.end - token.start == 1 and is_sign_word(text[token.start]) for token in found)
    return len(found) - n_signs / 2


def _contained(
    test: int, share: float, reverse: bool, runs: Sequence[Run], words: list[Word], parts: list[tuple[str, str]]
) -> Contained:
    places: list[tuple[str, int, int]] = []
    spans = []
    last = None
    for run in runs:
        for word in words[run.second : run.second + run.size]:
            key, text = parts[word.text]
            near = last and last[0] == word.text and not any(map(str.isalnum, text[last[2] : word.start]))
            if near:
                last = (word.text, last[1], word.end)
                places[-1], spans[-1] = (key, last[1], last[2]), text[last[1] : last[2]]
            else:
                last = (word.text, word.start, word.end)
                places.append((key, word.start, word.end))
                spans.append(text[word.start : word.end])
    return Contained(test, round(share, 6), reverse, tuple(places), tuple(spans))


def _stands_alone(runs: Sequence[Run], words: list[Word], parts: list[tuple[str, str]], length: float) -> bool:
    """Whether a short text is a whole sentence, line or text of the row, or, if shorter still, a whole text."""
    first, last = words[runs[0].second], words[runs[-1].second + runs[-1].size - 1]
    if len(runs) > 1 or first.text != last.text:
        return False
    text = parts[first.text][1]
    before, after = text[: first.start].rstrip(" \t$#>-\\{"), text[last.end :].lstrip(" \t$}\\,")
    if length < SHORTEST:
        return not before.strip() and not after.strip(_EDGES + " ")
    return (not before or before[-1] in _EDGES) and (not after or after[0] in _EDGES)
