"""The verdict of an evaluation, in sentences, also if the scorer is useless."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_shared.stats import Interval

if TYPE_CHECKING:
    from tools_scorer.evaluation.results import Compared, Results

KNOWN_QUESTIONS = {
    "train": "These are the questions that it was trained on: the figures say nothing of new ones.",
    "calibration": "Its best epoch and its calibration were chosen on these questions: they flatter it.",
    "all": "Among these are the questions that it was trained on: the figures say nothing of new ones.",
}


FEW = 20
"""With fewer questions a resampling interval is too narrow to decide by."""


def show(interval: Interval) -> str:
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def verdict(results: Results) -> list[str]:
    """First what the questions allow it to say, then whether the scorer reads the trace, then what votes gain by it."""
    known = [KNOWN_QUESTIONS[results.split]] if results.split in KNOWN_QUESTIONS else []
    votes = _vote_verdict(results) if results.within is not None else []
    return known + _few(results) + _within(results) + _steps(results) + votes


def _few(results: Results) -> list[str]:
    """That the questions are too few, where they are."""
    if results.n_groups < FEW:
        alike = "" if results.n_groups == results.n_questions else f" in {results.n_groups} groups of near-duplicates"
        return [
            f"These are {results.n_questions} questions{alike}: the intervals are rough below {FEW}; "
            "evaluate more before you decide by them."
        ]
    if results.within is not None and results.n_mixed < FEW:
        return [
            f"Only {results.n_mixed} of the {results.n_questions} questions have both right and wrong traces: "
            f"intervals within a question are rough below {FEW}."
        ]
    return []


def _within(results: Results) -> list[str]:
    if results.within is None:
        return ["No two questions have both right and wrong traces, so whether the scorer reads the trace stays open."]
    within = results.within
    place = f"within-question AUROC {show(within)} over {within.n} questions"
    if within.low > 0.5:
        said = [f"The scorer tells right traces from wrong ones of the same question: {place}."]
    elif within.high < 0.5:
        said = [f"Within a question the scorer prefers wrong traces: {place}; do not use it."]
    else:
        said = [f"The scorer does not tell right traces from wrong ones of the same question: {place} includes 0.5."]
        said.append(results.power.sentence())
    lost = [c for c in results.compared if c.difference is not None and c.difference.low <= 0]
    lost += [c for c in results.compared if c.difference is None and c.pooled.estimate >= results.pooled.estimate]
    if lost:
        said.append(f"It does not beat {_and([_loss(c) for c in lost])}.")
    return said


def _steps(results: Results) -> list[str]:
    if results.steps is None:
        return []
    within = f"{show(results.steps.within)} within a trace" if results.steps.within else "none within a trace"
    return [f"Of labelled steps, right ones score above wrong ones with AUROC {show(results.steps.pooled)}, {within}."]


def _loss(compared: Compared) -> str:
    if compared.difference is None or compared.within is None:
        return f"the {compared.name} pooled over questions ({compared.pooled.estimate:.3f})"
    gap = compared.difference
    difference = f"difference {gap.estimate:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
    return f"{compared.name} ({compared.within.estimate:.3f}, {difference})"


def _vote_verdict(results: Results) -> list[str]:
    if not results.selected or results.selected[-1].k < 2:
        return []
    last = results.selected[-1]
    gain = last.gain["weighted vote"]
    points = f"{100 * gain.estimate:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] at k = {last.k}"
    if gain.low > 0:
        return [f"A vote weighted by it beats the majority: {points}."]
    if gain.high < 0:
        return [f"A vote weighted by it is worse than the majority: {points}."]
    return [f"A vote weighted by it is not shown to beat the majority: {points}."]


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
