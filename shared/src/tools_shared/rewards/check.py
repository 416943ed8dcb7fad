"""Run the rewards on the data before training on them.

A reward that gives the same to everything teaches nothing, and one that gives more to a wrong answer than to
the gold one teaches that. Both are found here in a second, instead of after a night of training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from tools_shared.answers import OutOfBounds, parse_number
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.rewards.named import Reward

EVASIONS = ("empty answer", "answer inside the reasoning", "two answers", "gold followed by a wrong one")
"""Probes that should not pay more than a wrong number: a model would learn to evade hard questions."""
PROBES = ("gold", "wrong number", "no answer", "bad format", "answer repeated", *EVASIONS)
_FILLER = "Each step follows from the one before."


@dataclass(frozen=True)
class RewardCheck:
    """The weighted sum's mean for each probe. `warnings` are sentences about what is allowed but seldom meant;
    `skipped` counts problems whose gold answer no reward could judge."""

    means: Mapping[str, float]
    n_problems: int
    skipped: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        means = ", ".join(f"{probe} {self.means[probe]:.3g}" for probe in PROBES if probe not in EVASIONS)
        evasions = max(self.means[probe] for probe in EVASIONS)
        return f"rewards on {self.n_problems} problems: {means}, evasions at most {evasions:.3g}"


def check_rewards(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    profile: Profile,
    *,
    opens_thinking: bool = False,
    limit: int = 64,
) -> RewardCheck:
    """Score the completions of PROBES for each of the first `limit` problems: the gold one, the same with a wrong
    answer, one without an answer, one without the profile's tags, and those that evade a single answer.

    Raises ToolError when there is no problem to check on, when no gold answer can be judged, when a score is
    not finite, when the weighted sum is the same for all of them, when a wrong answer gets more than the gold
    one, and when the gold completion does not get the most. What a reward raises passes through.
    """
    chosen = problems[:limit]
    if not chosen:
        raise ToolError("the rewards cannot be checked: there are no problems; give a training set that is not empty")
    texts = [text for problem in chosen for text in _probes(problem, profile, opens_thinking)]
    totals = _weighted_sum(rewards, chosen, texts, opens_thinking)
    rows = [totals[i : i + len(PROBES)] for i in range(0, len(totals), len(PROBES))]
    scored = [(problem, [s for s in row if s is not None]) for problem, row in zip(chosen, rows, strict=True)]
    judged = [(problem, row) for problem, row in scored if len(row) == len(PROBES)]
    if not judged:
        raise ToolError(f"none of {len(chosen)} gold answers can be judged, the first is '{chosen[0].answer[:60]}'")
    _refuse([r.name for r in rewards], judged)
    return _summary(judged, skipped=len(chosen) - len(judged))


def _probes(problem: Problem, profile: Profile, opened: bool) -> list[str]:
    """Completions in the order of PROBES."""
    reasoning = problem.reasoning or _FILLER
    other = _wrong_answer(problem.answer)
    gold_block, other_block = (f"{profile.answer[0]}{a}{profile.answer[1]}" for a in (problem.answer, other))
    gold, wrong, empty, both = (
        profile.completion(reasoning, answer, opened)
        for answer in (problem.answer, other, "", f"{problem.answer} or {other}")
    )
    inside = f"{reasoning} {gold_block}" if profile.think else f"{reasoning} It is {problem.answer}."
    return [
        gold,
        wrong,
        gold[: gold.rfind(profile.answer[0])],
        f"{reasoning}\nThe answer is {problem.answer}",
        gold + gold_block,
        empty,
        profile.completion(inside, "", opened),
        both,
        gold + other_block,
    ]


def _wrong_answer(answer: str) -> str:
    """Another number; for an answer that is not one, a number all the same."""
    try:
        number = parse_number(answer)
    except OutOfBounds:
        return "0"
    return str(number.value * 3 + 1007) if number else "1007"


def _weighted_sum(
    rewards: Sequence[Reward], problems: Sequence[Problem], texts: Sequence[str], opened: bool
) -> list[float | None]:
    """The sum that the trainer would form; a None is left out of it, and is the sum where all are None."""
    repeated = [problem for problem in problems for _ in PROBES]
    columns = _columns(repeated, texts, opened)
    scores = [reward([p.question for p in repeated], list(texts), **columns) for reward in rewards]
    for reward, values in zip(rewards, scores, strict=True):
        strange = next((v for v in values if v is not None and not math.isfinite(v)), None)
        if strange is not None:
            raise ToolError(f"the reward '{reward.name}' returned {strange}; return a finite number, or None")
    totals: list[float | None] = []
    for row in zip(*scores, strict=True):
        parts = [r.weight * value for r, value in zip(rewards, row, strict=True) if value is not None]
        totals.append(math.fsum(parts) if parts else None)
    return totals


def _columns(problems: Sequence[Problem], texts: Sequence[str], opened: bool) -> dict[str, Any]:
    """The columns that training passes. The token ids are stand-ins, one for each word."""
    return {
        "answer": [p.answer for p in problems],
        "question": [p.question for p in problems],
        "opens_thinking": [opened] * len(problems),
        "completion_ids": [list(range(len(text.split()))) for text in texts],
        "trainer_state": SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
        "log_extra": lambda column, values: None,
        "log_metric": lambda name, value: None,
    }


def _refuse(names: Sequence[str], judged: Sequence[tuple[Problem, Sequence[float]]]) -> None:
    """Raise ToolError when training on this reward could not teach to answer."""
    sums = "reward " + " + ".join(names)
    if all(value == row[0] for _, row in judged for value in row):
        raise ToolError(
            f"{sums} is {judged[0][1][0]:g} for every probe of every problem: right, wrong and missing answers "
            "alike; nothing can be learned from it, choose another --reward"
        )
    for problem, row in judged:
        best = max(range(len(PROBES)), key=row.__getitem__)
        if row[best] > row[0]:
            raise ToolError(
                f"{sums} gives {row[best]:g} to the probe '{PROBES[best]}' and {row[0]:g} to the gold completion of "
                f"problem '{problem.id}' (answer '{problem.answer[:40]}'); change the reward or its weights"
            )


def _summary(judged: Sequence[tuple[Problem, Sequence[float]]], skipped: int) -> RewardCheck:
    means = {probe: fmean(row[i] for _, row in judged) for i, probe in enumerate(PROBES)}
    same = sum(row[0] == row[1] for _, row in judged)
    warnings = [
        f"the probe '{probe}' scores more than a wrong number on {n} of {len(judged)} problems"
        for probe in EVASIONS
        if (n := sum(row[PROBES.index(probe)] > row[1] for _, row in judged))
    ]
    if same:
        warnings.append(f"a wrong number scores as much as the gold answer on {same} of {len(judged)} problems")
    if skipped:
        warnings.append(f"{skipped} gold answers cannot be judged; their completions get no reward")
    return RewardCheck(means, len(judged), skipped, tuple(warnings))
