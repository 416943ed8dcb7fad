"""The rules by which a training text goes, applied to every text at once.

exact     the normal form of the text is that of a test text
lexical   the calibrated probability from words and numbers reaches its threshold
semantic  the same with the cosine of the model's vectors, or with --threshold that cosine alone
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_dedup.decision.calibration import Calibration
from tools_dedup.lexical.evidence import FEATURES, Terms, nearest_by_terms, numbers_differ, pair_features, too_short
from tools_dedup.lexical.words import normal_form
from tools_dedup.semantic.search import Corpus, nearest
from tools_dedup.semantic.vectors import Vectors
from tools_shared.console import progress

if TYPE_CHECKING:
    import numpy as np

BLOCK = 8192


@dataclass(frozen=True)
class Rule:
    """How candidates are scored. Without `calibration` the score is the cosine itself; with `unlike` the texts are not
    like those of the calibration, and its figure is no probability."""

    method: str
    threshold: float
    calibration: Calibration | None
    guard_numbers: bool = False
    top_k: int = 5
    unlike: bool = False

    @property
    def needs_terms(self) -> bool:
        return self.calibration is not None or self.guard_numbers

    @property
    def score_name(self) -> str:
        return ("score" if self.unlike else "probability") if self.calibration else "cosine"


@dataclass
class Judged:
    """For each training text the candidate with the best score: test text (-1: none), score, cosine of the model's
    vectors (NaN without one), rank among the candidates (1 is the nearest), the five figures, and whether it goes."""

    method: str
    score_name: str
    threshold: float
    test: np.ndarray
    score: np.ndarray
    cosine: np.ndarray
    rank: np.ndarray
    features: np.ndarray
    guarded: np.ndarray

    @property
    def goes(self) -> np.ndarray:
        return (self.test >= 0) & (self.score >= self.threshold)


Candidates = Callable[[int, int], tuple["np.ndarray", "np.ndarray"]]


def by_vectors(train: Vectors, tests: Corpus, k: int, chunk_size: int) -> Candidates:
    """Candidates of texts start to stop by cosine: (indices, cosines)."""

    def find(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        return nearest(lambda a, b: train.block(start + a, start + b), stop - start, tests, k, chunk_size)

    return find


def by_terms(train: Terms, tests: Terms, k: int) -> Candidates:
    """Candidates of texts start to stop by TF-IDF cosine."""
    return lambda start, stop: nearest_by_terms(train.rows(start, stop), tests, k)


def judge(rule: Rule, n_texts: int, candidates: Candidates, train: Terms | None, tests: Terms | None) -> Judged:
    """Apply a rule to training texts, a block at a time. `train` and `tests` may be None for a plain cosine rule."""
    import numpy as np

    judged = _empty(rule, n_texts)
    for start in progress(range(0, n_texts, BLOCK), label="comparing", unit="block"):
        stop = min(start + BLOCK, n_texts)
        part = slice(start, stop)
        found, cosines = candidates(start, stop)
        own = train.rows(start, stop) if train is not None else None
        scores, figures, guarded = _score(rule, found, cosines, own, tests)
        best = np.argmax(scores, axis=1)
        pick = lambda values, best=best: np.take_along_axis(values, best[:, None], 1)[:, 0]  # noqa: E731
        judged.test[part] = np.where(np.isfinite(pick(scores)), pick(found), -1)
        judged.score[part] = pick(scores)
        judged.rank[part] = best + 1
        judged.guarded[part] = guarded
        judged.features[part] = figures[np.arange(stop - start), best]
        if rule.method == "semantic":
            judged.cosine[part] = pick(cosines)
    return judged


def _empty(rule: Rule, n: int) -> Judged:
    import numpy as np

    nothing = np.full(n, np.nan)
    return Judged(
        rule.method, rule.score_name, rule.threshold, np.full(n, -1), nothing.copy(), nothing.copy(),
        np.ones(n, dtype=np.int64), np.full((n, len(FEATURES)), np.nan), np.zeros(n, dtype=bool),
    )  # fmt: skip


def _score(
    rule: Rule, found: np.ndarray, cosines: np.ndarray, train: Terms | None, tests: Terms | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, k), -inf where there is no candidate; figures (n, k, 5); and which texts the guard has kept."""
    import numpy as np

    scores = np.where(found >= 0, cosines, -np.inf)
    figures = np.full((*found.shape, len(FEATURES)), np.nan)
    guarded = np.zeros(len(found), dtype=bool)
    if not rule.needs_terms:
        return scores, figures, guarded
    at = np.nonzero(found >= 0)
    pair = (train, tests, at[0], found[at])
    figures[at] = pair_features(*pair, cosines[at])
    if rule.calibration:
        scores[at] = np.where(too_short(*pair, figures[at]), 0.0, rule.calibration.probability(figures[at]))
    if rule.guard_numbers:
        before = scores.max(axis=1, initial=-np.inf) >= rule.threshold
        scores[at] = np.where(numbers_differ(*pair), np.minimum(scores[at], _below(rule.threshold)), scores[at])
        guarded = before & (scores.max(axis=1, initial=-np.inf) < rule.threshold)
    return scores, figures, guarded


def _below(threshold: float) -> float:
    """A score with which a guarded pair stays whatever threshold is tried later."""
    return min(0.0, threshold - 1e-6)


def exact_matches(train: Sequence[str], tests: Sequence[str]) -> np.ndarray:
    """For each training text the first test text with the same normal form, -1 where there is none."""
    import numpy as np

    known: dict[str, int] = {}
    for number, text in enumerate(tests):
        known.setdefault(normal_form(text), number)
    return np.fromiter((known.get(normal_form(text), -1) for text in train), np.int64, len(train))
