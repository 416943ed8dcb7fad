"""What a scorer would have saved while the traces were being sampled, replayed from their step probabilities.

Two rules. Threshold: a trace stops as soon as the mean of its steps falls below it. Memory: all traces of a question
grow one token a tick; whenever their tokens exceed the cache's budget, the running trace with the lowest mean is
dropped (STEP's rule, arXiv 2601.09093). Finished traces leave the cache and keep their vote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools_scorer.evaluation.judged import JudgedTrace
from tools_scorer.evaluation.selection import vote
from tools_shared.scorers.scorer import Aggregate
from tools_shared.stats import Interval, bounded_mean

QUANTILES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
BUDGETS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class ReplayPoint:
    """One setting: the share of tokens that were not sampled, and the accuracy of the weighted vote over the rest."""

    setting: float
    saved: float
    accuracy: Interval
    n_dropped: int


def stop_below(trace: JudgedTrace, threshold: float) -> int | None:
    """After how many tokens of the response the mean of the steps is below the threshold; None: never."""
    total = 0.0
    for n, (step, end) in enumerate(zip(trace.steps, trace.ends, strict=True), start=1):
        total += step
        if total / n < threshold and end < trace.n_tokens:
            return end
    return None


def thresholds(
    questions: Sequence[Sequence[JudgedTrace]], aggregate: Aggregate, seed: int, n_resamples: int
) -> list[ReplayPoint]:
    """Early stopping at quantiles of the trace means, from none to nine tenths. All stopped counts as no answer."""
    import numpy as np

    means = [trace.score.mean for question in questions for trace in question]
    levels = [0.0, *(float(np.quantile(means, q)) for q in QUANTILES[1:])]

    def replayed(level: float) -> Callable[[Sequence[JudgedTrace]], tuple[list[JudgedTrace], int]]:
        def one(question: Sequence[JudgedTrace]) -> tuple[list[JudgedTrace], int]:
            stops = [stop_below(trace, level) for trace in question]
            left = [trace for trace, stop in zip(question, stops, strict=True) if stop is None]
            return left, sum(t.n_tokens if s is None else s for t, s in zip(question, stops, strict=True))

        return one

    return [_point(level, questions, replayed(level), aggregate, seed, n_resamples) for level in levels]


def memory_budgets(
    questions: Sequence[Sequence[JudgedTrace]], aggregate: Aggregate, seed: int, n_resamples: int, by_lot: bool = False
) -> list[ReplayPoint]:
    """STEP's rule at budgets that are shares of what each question needs at its peak. `by_lot` drops at random."""
    import numpy as np

    def replayed(share: float) -> Callable[[Sequence[JudgedTrace]], tuple[list[JudgedTrace], int]]:
        def one(question: Sequence[JudgedTrace]) -> tuple[list[JudgedTrace], int]:
            budget = share * peak([t.n_tokens for t in question])
            rng = np.random.default_rng([seed, *question[0].info.question_id.encode()])
            lots = dict(zip(map(id, question), rng.random(len(question)), strict=True))
            return lock_step(question, budget, (lambda t, n: lots[id(t)]) if by_lot else _mean_so_far)

        return one

    return [_point(share, questions, replayed(share), aggregate, seed, n_resamples) for share in BUDGETS]


def _mean_so_far(trace: JudgedTrace, n_tokens: int) -> float:
    """A trace that has not ended a step yet is not judged: it goes last."""
    mean = trace.mean_until(n_tokens)
    return 2.0 if mean is None else mean


def lock_step(
    question: Sequence[JudgedTrace], budget: float, score: Callable[[JudgedTrace, int], float]
) -> tuple[list[JudgedTrace], int]:
    """The traces that finish, and all tokens sampled, when the running ones may hold `budget` tokens together.

    The prompt's tokens are shared and not counted. Time passes in ticks of one token for each running trace; between
    two events nothing is decided, so only events are looked at. The last running trace is never dropped.
    """
    running, finished, drawn = list(question), [], 0
    while running:
        ends_next = min(trace.n_tokens for trace in running)
        full_at = int(budget // len(running)) + 1
        if ends_next < full_at or len(running) == 1:
            done = [trace for trace in running if trace.n_tokens == ends_next]
            finished += done
            drawn += ends_next * len(done)
            running = [trace for trace in running if trace.n_tokens > ends_next]
        else:
            lowest = min(running, key=lambda trace: score(trace, full_at - 1))
            drawn += full_at - 1
            running.remove(lowest)
    return finished, drawn


def peak(lengths: Sequence[int]) -> int:
    """The most tokens that traces of these lengths hold at once in lock-step: the largest n * (n-th longest)."""
    return max(n * length for n, length in enumerate(sorted(lengths, reverse=True), start=1))


def _point(
    setting: float,
    questions: Sequence[Sequence[JudgedTrace]],
    replayed: Callable[[Sequence[JudgedTrace]], tuple[list[JudgedTrace], int]],
    aggregate: Aggregate,
    seed: int,
    n_resamples: int,
) -> ReplayPoint:
    correct, drawn, n_dropped = [], 0, 0
    for question in questions:
        left, tokens = replayed(question)
        correct.append(vote([(t, getattr(t.score, aggregate)) for t in left]))
        drawn += tokens
        n_dropped += len(question) - len(left)
    needed = sum(trace.n_tokens for question in questions for trace in question)
    clusters = [question[0].info.group for question in questions]
    accuracy = bounded_mean(correct, clusters, n_resamples=n_resamples, seed=seed)
    return ReplayPoint(setting, 1 - drawn / needed, accuracy, n_dropped)
