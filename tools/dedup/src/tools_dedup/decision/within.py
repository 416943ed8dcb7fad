"""Repetitions inside the training set: greedily, and only against rows that stay.

A row goes when it repeats a row that stays, never because it repeats one that goes; so a chain of small changes does
not take its far end with it. The comparison is exact and quadratic in the distinct texts, or, with
`--search approximate`, only with the kept texts in the nearest cells.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_dedup.config import DedupConfig
from tools_dedup.decision.plan import DedupPlan
from tools_dedup.decision.rules import Rule
from tools_dedup.input.rows import Scan
from tools_dedup.lexical.evidence import FEATURES, NO_NUMBERS, Terms, numbers_differ, pair_features, too_short
from tools_dedup.lexical.words import normal_form
from tools_dedup.semantic.cells import Cells
from tools_dedup.semantic.vectors import Vectors
from tools_shared.console import progress

if TYPE_CHECKING:
    import numpy as np

SURE = 0.9
SAME_WORDS, SAME_NUMBERS, SAME_MEANING = 0.85, 2, 0.93
"""A training set holds many more pairs than it has with a test set, and many of one template; so where no threshold is
given a pair needs, beside a probability of SURE and equal numbers, one of: this weighted overlap of words; this many
different numbers; this cosine of a model. And it must not be a twin, in which a word stands for another ("longest" for
"shortest"): each text has words that the other lacks, and those of the poorer weigh no more than one rare word."""
_BLOCK = 1024
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Repetition:
    """A row goes because usable row `kept` stays; `score` is that of the rule, 1 for equal texts."""

    kept: int
    score: float


def repetitions(
    train: Scan,
    rows: Sequence[int],
    pinned: Container[int],
    plan: DedupPlan,
    config: DedupConfig,
    vectors: Vectors | None,
    terms: Terms | None,
) -> dict[int, Repetition]:
    """Which of `rows` repeat which others; the rows that stay are preferred by `config.keep`.

    The text of a `pinned` row stays, once, whatever it resembles.
    """
    found: dict[int, Repetition] = {}
    first_of: dict[str, int] = {}
    distinct: list[int] = []
    for row in sorted(rows, key=lambda row: (_preference(train, row, config.keep), row)):
        first = first_of.setdefault(normal_form(train.texts[train.text_ids[row]]), row)
        if first == row:
            distinct.append(row)
        else:
            found[row] = Repetition(first, 1.0)
    if plan.rules:
        similar = _Similar(plan.rules[0], config, [train.text_ids[row] for row in distinct], vectors, terms)
        found_pairs = similar.greedy({i for i, row in enumerate(distinct) if row in pinned})
        pairs = {distinct[i]: Repetition(distinct[j], score) for i, j, score in found_pairs}
        # Equal texts follow their first row: to the row that it repeats.
        found = {row: _follow(repetition, pairs) for row, repetition in found.items()} | pairs
    return found


def _preference(train: Scan, row: int, keep: str) -> float:
    if keep == "first":
        return 0
    return -len(train.texts[train.text_ids[row]]) if keep == "longest" else -train.sort_values[row]


def _follow(repetition: Repetition, pairs: dict[int, Repetition]) -> Repetition:
    return pairs.get(repetition.kept, repetition)


class _Similar:
    """Similarity of distinct texts under one rule, in the order in which they are preferred."""

    def __init__(
        self, rule: Rule, config: DedupConfig, text_ids: list[int], vectors: Vectors | None, terms: Terms | None
    ) -> None:
        import numpy as np

        self._rule, self._n = rule, len(text_ids)
        default = max(rule.threshold, SURE) if rule.calibration else rule.threshold
        self._threshold = default if config.within_threshold is None else config.within_threshold
        self._strict = rule.calibration is not None and config.within_threshold is None
        self._terms = terms.take(text_ids) if terms is not None else None
        semantic = rule.method == "semantic"
        self._space = vectors.all()[np.asarray(text_ids)] if semantic else self._terms.tfidf
        self._floor = self._lowest_cosine() - _ROUNDING
        self._cells = Cells(self._space) if config.search == "approximate" and self._n else None

    def greedy(self, pinned: Container[int]) -> Iterator[tuple[int, int, float]]:
        """(i, j, score): text i, which is not pinned, repeats text j, which comes before it and stays."""
        import numpy as np

        kept = np.empty(0, dtype=np.int64)
        for start in progress(range(0, self._n, _BLOCK), label="repetitions", unit="block"):
            block = np.arange(start, min(start + _BLOCK, self._n))
            among = self._cosines(block, block)
            new: list[int] = []
            for i, (others, cosines) in zip(block, self._earlier(block, kept), strict=True):
                mine = np.asarray(new, dtype=np.int64)
                best = self._best(
                    int(i), np.concatenate([others, mine]), np.concatenate([cosines, among[i - start, mine - start]])
                )
                if best is None or i in pinned:
                    new.append(int(i))
                else:
                    yield (int(i), *best)
            kept = np.concatenate([kept, np.asarray(new, dtype=np.int64)])
            if self._cells:
                self._cells.add(kept[len(kept) - len(new) :])

    def _earlier(self, block: np.ndarray, kept: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each text of the block, the kept ones from before it that may be near enough, and their cosines."""
        import numpy as np

        if self._cells:
            ids, cosines = self._cells.near(block, self._floor)
        else:
            ids, cosines = np.broadcast_to(kept, (len(block), len(kept))), self._cosines(block, kept)
        for own_ids, own_cosines in zip(ids, cosines, strict=True):
            near = np.flatnonzero(own_cosines >= self._floor)
            yield own_ids[near], own_cosines[near]

    def _best(self, i: int, others: np.ndarray, cosines: np.ndarray) -> tuple[int, float] | None:
        """The other with the largest score that reaches the threshold."""
        import numpy as np

        near = np.flatnonzero(cosines >= self._floor)
        if not len(near):
            return None
        ids, scores = others[near], cosines[near].astype(np.float64).round(6)
        if self._terms is not None and self._rule.needs_terms:
            pair = (self._terms, self._terms, np.full(len(ids), i), ids)
            figures = pair_features(*pair, scores)
            if self._rule.calibration:
                scores = np.where(too_short(*pair, figures), 0.0, self._rule.calibration.probability(figures))
            if self._strict:
                scores = np.where(self._certain(i, ids, figures), scores, -np.inf)
            if self._rule.guard_numbers:
                scores = np.where(numbers_differ(*pair), -np.inf, scores)
        best = int(np.argmax(scores))
        return (int(ids[best]), float(scores[best])) if scores[best] >= self._threshold else None

    def _certain(self, i: int, others: np.ndarray, figures: np.ndarray) -> np.ndarray:
        """Which pairs have more behind them than a template's words."""
        import numpy as np

        n_numbers = np.minimum(self._terms.n_numbers[i], self._terms.n_numbers[others])
        cosine, numbers, containment, overlap, _ = figures.T
        same_numbers = (numbers == 1) | (numbers == NO_NUMBERS) & (n_numbers == 0)
        found = (overlap >= SAME_WORDS) | (n_numbers >= SAME_NUMBERS)
        found |= cosine >= SAME_MEANING if self._rule.method == "semantic" else False
        weight = np.minimum(self._terms.word_weight[i], self._terms.word_weight[others])
        return found & same_numbers & ((containment == 1) | ((1 - containment) * weight > self._terms.rarity.max()))

    def _cosines(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = self._space[a] @ self._space[b].T
        return product if self._rule.method == "semantic" else product.toarray()

    def _lowest_cosine(self) -> float:
        """No pair with a lower cosine can reach the threshold, whatever its other figures, which are at most 1."""
        calibration = self._rule.calibration
        if calibration is None:
            return self._threshold
        if not 0 < self._threshold < 1:
            return -1.0
        others = sum(max(calibration.coefficients[name], 0.0) for name in FEATURES if name != "cosine")
        wanted = math.log(self._threshold / (1 - self._threshold)) - calibration.intercept - others
        weight = calibration.coefficients["cosine"]
        return wanted / weight if weight > 0 else -1.0
