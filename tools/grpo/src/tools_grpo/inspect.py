"""A run's rollouts: the course of reward and length, and the completions worth reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from tools_grpo.ledgers.rollouts import own_logprobs, read_rollouts
from tools_shared.errors import ToolError

Row = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step's means. `flat` is the share of zero-variance groups; `logprob` the mean over completions of a
    token's mean log-probability."""

    step: int
    reward: float
    length: float
    truncated: float
    flat: float
    logprob: float
    n: int


@dataclass(frozen=True)
class Shown:
    """A rollout to read, with the token's mean log-probability and, for a surprising one, how surprising it was."""

    row: Row
    logprob: float
    surprise: float | None = None


@dataclass(frozen=True)
class Inspection:
    path: Path
    steps: list[Step]
    best: list[Shown]
    worst: list[Shown]
    surprising: list[Shown]

    @property
    def n_rollouts(self) -> int:
        return sum(step.n for step in self.steps)


def inspect(run_dir: Path, n_shown: int = 3) -> Inspection:
    """Read the ledger once, a step at a time.

    Best and worst go by the weighted reward, then by the advantage: right where the rest of its group was wrong comes
    first. Surprising is what the policy did not expect of itself: rewarded above its group though the tokens were
    unlikely, or below it though they were likely. With l the mean log-probability of a completion's tokens, and mean
    and deviation those of l over the step's completions, surprise = -sign(advantage) (l - mean) / deviation. A group
    with zero variance has no sign and is left out. Each problem is shown once in a list.
    """
    steps: list[Step] = []
    best, worst, surprising = ({}, {}, {})
    for number, rows in groupby(read_rollouts(run_dir), key=lambda row: row["step"]):
        shown = [Shown(row, fmean(own_logprobs(row))) for row in rows]
        steps.append(_step(number, shown))
        _keep(best, ((_rank(s.row), s) for s in shown), n_shown)
        _keep(worst, ((tuple(-x for x in _rank(s.row)), s) for s in shown), n_shown)
        _keep(surprising, _surprises(shown), n_shown)
    if not steps:
        raise ToolError(f"{run_dir}: no step of this run has drawn its rollouts yet")
    return Inspection(run_dir, steps, _ordered(best), _ordered(worst), _ordered(surprising))


def _step(number: int, shown: list[Shown]) -> Step:
    groups: dict[str, set[float]] = {}
    for s in shown:
        groups.setdefault(s.row["problem"], set()).add(s.row["reward"])
    return Step(
        number,
        fmean(s.row["reward"] for s in shown),
        fmean(s.row["n_tokens"] for s in shown),
        fmean(s.row["finish_reason"] == "length" for s in shown),
        fmean(len(values) == 1 for values in groups.values()),
        fmean(s.logprob for s in shown),
        len(shown),
    )


def _rank(row: Row) -> tuple[float, ...]:
    return row["reward"], row["advantage"] or 0.0


def _surprises(shown: list[Shown]) -> Iterator[tuple[tuple[float, ...], Shown]]:
    middle, width = fmean(s.logprob for s in shown), pstdev(s.logprob for s in shown)
    for s in shown:
        if width and s.row["advantage"]:
            value = -math.copysign(1.0, s.row["advantage"]) * (s.logprob - middle) / width
            yield (value,), Shown(s.row, s.logprob, value)


def _keep(top: dict[str, tuple], ranked: Iterable[tuple[tuple[float, ...], Shown]], n: int) -> None:
    """Keep the n highest in `top`, by problem; of equals the first."""
    for rank, shown in ranked:
        problem = shown.row["problem"]
        if problem not in top or rank > top[problem][0]:
            top[problem] = (rank, shown)
            if len(top) > n:
                # Of equals the newest goes.
                del top[min(reversed(top), key=lambda key: top[key][0])]


def _ordered(top: dict[str, tuple]) -> list[Shown]:
    return [shown for _, shown in sorted(top.values(), key=lambda entry: entry[0], reverse=True)]


def spans(steps: list[Step], n_spans: int) -> list[list[Step]]:
    """The steps in at most `n_spans` neighbouring spans of like size."""
    size = math.ceil(len(steps) / n_spans)
    return [steps[i : i + size] for i in range(0, len(steps), size)]


def mean(steps: list[Step], name: str) -> float:
    """The mean of a column over steps, each counting as many times as it has rollouts."""
    return sum(getattr(step, name) * step.n for step in steps) / sum(step.n for step in steps)
