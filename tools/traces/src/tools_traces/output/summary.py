"""The figures of a run: `NAME.stats.json` and the manifest's metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tools_shared.stats import pass_at_k, wilson
from tools_traces.output.rows import Outcome, Written


def statistics(found: Sequence[Outcome], counts: Written, goal: int | None, max_attempts: int) -> dict[str, Any]:
    """Counts and rates of one run; everything here follows from the attempts alone.

    `grpo_successes` are questions with a trace that the model wrote and the grader accepted, never a fallback.
    `tokens_saved` is an estimate: the attempts that were not needed, at the mean length of those sampled.
    """
    n = len(found)
    attempts = [attempt for outcome in found for attempt in outcome.attempts]
    solved = [first_success(outcome) for outcome in found if outcome.n_verified]
    tokens = sum(attempt.n_tokens for attempt in attempts)
    interval = wilson(counts.successes, n)
    return {
        "total_samples": n,
        "grpo_successes": counts.successes,
        "fallback_count": counts.fallbacks,
        "success_rate": counts.successes / n,
        "success_rate_95": [interval.low, interval.high],
        "avg_attempts_for_successes": sum(solved) / len(solved) if solved else None,
        "avg_attempts_overall": len(attempts) / n,
        "rows": counts.rows,
        "skipped": counts.skipped,
        "duplicates": counts.duplicates,
        "outside_pass_rate": counts.outside_pass_rate,
        "without_row": counts.without_row,
        "attempts": len(attempts),
        "attempts_verified": sum(attempt.verified for attempt in attempts),
        "attempts_correct": sum(attempt.verdict == "correct" for attempt in attempts),
        "attempts_pruned": sum(attempt.pruned is not None for attempt in attempts),
        "tokens_pruned": sum(attempt.n_tokens for attempt in attempts if attempt.pruned),
        "attempts_truncated": sum(attempt.finish_reason == "length" for attempt in attempts),
        "attempts_histogram": dict(sorted(Counter(str(len(outcome.attempts)) for outcome in found).items())),
        "verdicts": dict(sorted(Counter(attempt.verdict for attempt in attempts).items())),
        "pass_at_k": {str(k): mean_pass_at_k(found, k, goal) for k in _powers(max_attempts)},
        "tokens_generated": tokens,
        "tokens_saved": round((n * max_attempts - len(attempts)) * tokens / len(attempts)),
    }


def first_success(outcome: Outcome) -> int:
    """The number, from 1, of the first verified attempt of a question that has one."""
    return next(number for number, attempt in enumerate(outcome.attempts, start=1) if attempt.verified)


def mean_pass_at_k(found: Sequence[Outcome], k: int, goal: int | None) -> float:
    """The unbiased chance of a verified attempt among k: from all attempts (Chen et al. 2021) where all were sampled;
    else the share of questions solved in their first k, which stopping after a success does not bias."""
    if goal is None:
        return sum(pass_at_k(len(o.attempts), o.n_verified, k) for o in found) / len(found)
    return sum(any(attempt.verified for attempt in o.attempts[:k]) for o in found) / len(found)


def _powers(largest: int) -> list[int]:
    return sorted({1, largest, *(2**i for i in range(1, largest.bit_length()) if 2**i <= largest)})
