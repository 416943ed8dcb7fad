"""Run the rewards on the data before training on them.

A reward that gives the same to everything teaches nothing, and one that gives more to a wrong answer than to
the gold one teaches that. Both are found here in a second, instead of after a night of training. Where the rows have
no gold answers, or the reward is an opinion (a judge, a model, a function of the user's own), what is found is said
and not refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import SimpleNamespace
from typing import Any, Literal

from tools_shared.answers import OutOfBounds, parse_number
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.rewards.columns import reward_arguments, reward_rows
from tools_shared.rewards.named import Reward

Mode = Literal["strict", "warn", "off"]
EVASIONS = ("empty answer", "answer inside the reasoning", "two answers", "gold followed by a wrong one")
"""Probes that should not pay more than a wrong number: a model would learn to evade hard questions."""
PROBES = ("gold", "wrong number", "no answer", "bad format", "answer repeated", *EVASIONS)
OPEN_PROBES = ("reference", "empty", "the question again", "a sentence", "the sentence 20 times")
"""What is scored where there is no gold answer; the reference is the row's own text, where it has one."""
REFERENCES = (
    "reference",
    "canonical_solution",
    "code",
    "steps",
    "response",
    "completion",
    "output",
    "solution",
    "answer",
)
"""Columns with a text that a good completion resembles."""
_FILLER = "Each step follows from the one before."
SLOW_LIMIT = 4
"""Problems that are probed where a reward waits for another program."""


@dataclass(frozen=True)
class RewardCheck:
    """The weighted sum's mean for each probe. `warnings` are sentences about what is allowed but seldom meant;
    `skipped` counts problems whose gold answer no reward could judge."""

    means: Mapping[str, float]
    n_problems: int
    skipped: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        means = ", ".join(f"{probe} {mean:.3g}" for probe, mean in self.means.items() if probe not in EVASIONS)
        evasions = [self.means[probe] for probe in EVASIONS if probe in self.means]
        most = f", evasions at most {max(evasions):.3g}" if evasions else ""
        return f"rewards on {self.n_problems} problems: {means}{most}"


def check_rewards(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    profile: Profile,
    *,
    opens_thinking: bool = False,
    limit: int = 64,
    mode: Mode = "strict",
    rows: Sequence[dict[str, Any]] | None = None,
) -> RewardCheck:
    """Score the completions of PROBES for each of the first `limit` problems: the gold one, the same with a wrong
    answer, one without an answer, one without the profile's tags, and those that evade a single answer. Where no
    problem has a gold answer, those of OPEN_PROBES. `rows` are the problems as rewards see them (see `reward_rows`).

    Raises ToolError when there is no problem to check on, when nothing can be judged and when a score is not finite.
    With `mode` "strict" also when the weighted sum is the same for all probes, when a wrong answer gets more than the
    gold one, and when the gold completion does not get the most; else these are warnings. What a reward raises passes
    through.
    """
    if not problems:
        raise ToolError("the rewards cannot be checked: there are no problems; give a training set that is not empty")
    if rows is None:
        rows = reward_rows(problems, [p.question for p in problems], [opens_thinking] * len(problems))
    pairs = list(zip(problems, rows, strict=True))
    with_gold = [pair for pair in pairs if pair[0].answer]
    limit = min(limit, SLOW_LIMIT) if any(reward.is_slow for reward in rewards) else limit
    chosen = (with_gold or pairs)[:limit]
    names = PROBES if with_gold else OPEN_PROBES
    make = _probes if with_gold else _open_probes
    texts = [text for problem, row in chosen for text in make(problem, profile, row)]
    repeated = [row for _, row in chosen for _ in names]
    totals = _weighted_sum(rewards, repeated, texts)
    parts = [totals[i : i + len(names)] for i in range(0, len(totals), len(names))]
    scored = [(p, [s for s in part if s is not None]) for (p, _), part in zip(chosen, parts, strict=True)]
    judged = [(problem, row) for problem, row in scored if len(row) == len(names)]
    if not judged:
        raise ToolError(_nothing_judged(chosen[0][0], len(chosen)))
    sums = "reward " + " + ".join(reward.name for reward in rewards)
    fault = _fault(sums, judged) if with_gold else None
    if fault and mode == "strict":
        raise ToolError(fault)
    warnings = [fault] if fault else []
    warnings += _warnings(judged) if with_gold else _open_warnings(sums, judged)
    if skipped := len(chosen) - len(judged):
        warnings.append(f"{skipped} gold answers cannot be judged; their completions get no reward")
    means = {name: fmean(row[i] for _, row in judged) for i, name in enumerate(names)}
    return RewardCheck(means, len(judged), skipped, tuple(warnings))


def _nothing_judged(first: Problem, n: int) -> str:
    if not first.answer:
        return f"none of {n} problems can be judged, the first is '{first.question[:60]}'"
    return f"none of {n} gold answers can be judged, the first is '{first.answer[:60]}'"


def _probes(problem: Problem, profile: Profile, row: Mapping[str, Any]) -> list[str]:
    """Completions in the order of PROBES."""
    opened = row["opens_thinking"]
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


def _open_probes(problem: Problem, profile: Profile, row: Mapping[str, Any]) -> list[str]:
    """Completions in the order of OPEN_PROBES."""
    said = next((text for name in REFERENCES if (text := _as_text(row.get(name)))), _FILLER)
    return [said, "", problem.question, _FILLER, " ".join([_FILLER] * 20)]


def _as_text(value: Any) -> str:
    """A text as it is, or a list of texts as numbered lines."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) for one in value):
        return "\n".join(f"{n}. {one}" for n, one in enumerate(value, start=1))
    return value if isinstance(value, str) else ""


def _wrong_answer(answer: str) -> str:
    """Another number; for an answer that is not one, a number all the same."""
    try:
        number = parse_number(answer)
    except OutOfBounds:
        return "0"
    return str(number.value * 3 + 1007) if number else "1007"


def _weighted_sum(
    rewards: Sequence[Reward], rows: Sequence[dict[str, Any]], texts: Sequence[str]
) -> list[float | None]:
    """The sum that the trainer would form; a None is left out of it, and is the sum where all are None."""
    arguments = {
        **reward_arguments(rows, texts),
        "trainer_state": SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
        "log_extra": lambda column, values: None,
        "log_metric": lambda name, value: None,
    }
    scores = [reward(**arguments) for reward in rewards]
    for reward, values in zip(rewards, scores, strict=True):
        strange = next((v for v in values if v is not None and not math.isfinite(v)), None)
        if strange is not None:
            raise ToolError(f"the reward '{reward.name}' returned {strange}; return a finite number, or None")
    totals: list[float | None] = []
    for row in zip(*scores, strict=True):
        parts = [r.weight * value for r, value in zip(rewards, row, strict=True) if value is not None]
        totals.append(math.fsum(parts) if parts else None)
    return totals


def _fault(sums: str, judged: Sequence[tuple[Problem, Sequence[float]]]) -> str | None:
    """Why training on this reward could not teach to answer, if it could not."""
    if all(value == row[0] for _, row in judged for value in row):
        return (
            f"{sums} is {judged[0][1][0]:g} for every probe of every problem: right, wrong and missing answers "
            "alike; nothing can be learned from it, choose another --reward"
        )
    for problem, row in judged:
        best = max(range(len(PROBES)), key=row.__getitem__)
        if row[best] > row[0]:
            return (
                f"{sums} gives {row[best]:g} to the probe '{PROBES[best]}' and {row[0]:g} to the gold completion of "
                f"problem '{problem.id}' (answer '{problem.answer[:40]}'); change the reward or its weights"
            )
    return None


def _warnings(judged: Sequence[tuple[Problem, Sequence[float]]]) -> list[str]:
    same = sum(row[0] == row[1] for _, row in judged)
    warnings = [
        f"the probe '{probe}' scores more than a wrong number on {n} of {len(judged)} problems"
        for probe in EVASIONS
        if (n := sum(row[PROBES.index(probe)] > row[1] for _, row in judged))
    ]
    if same:
        warnings.append(f"a wrong number scores as much as the gold answer on {same} of {len(judged)} problems")
    return warnings


def _open_warnings(sums: str, judged: Sequence[tuple[Problem, Sequence[float]]]) -> list[str]:
    """What a reward without gold answers pays for that no one would want."""
    if all(value == judged[0][1][0] for _, row in judged for value in row):
        return [f"{sums} is {judged[0][1][0]:g} for every probe of every problem; nothing may be learned from it"]
    return [
        f"the probe '{probe}' scores as much as the row's own text, or more, on {n} of {len(judged)} problems"
        for i, probe in enumerate(OPEN_PROBES[1:], start=1)
        if (n := sum(row[i] >= row[0] for _, row in judged))
    ]
