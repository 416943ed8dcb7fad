"""The questions to sample: usable ones of this shard that are not in the test set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from tools_shared.answers import readable
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.records import Origin, Problem, Rejected
from tools_shared.rewards import Reward, check_row
from tools_shared.sources import Collected, read_problems
from tools_shared.sources.allowance import unreadable
from tools_traces.config import TracesConfig

N_GRAM = 13
"""Words in a row that count as the same question (Brown et al. 2020, appendix C)."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Questions:
    """The questions of this shard, and everything that was read with what is not used."""

    problems: list[Problem]
    rejected: list[Rejected]
    read: Collected[Problem]
    tests: Collected[Problem] | None


def read_questions(config: TracesConfig, accepted: Reward | None = None) -> Questions:
    """Read the data; raises ToolError when no question is left. `accepted` is the reward of --accept: the rows need
    what it wants, and no answer where it wants none."""
    needs_answer = accepted is None or accepted.needs_answer
    read = read_problems(
        config.source,
        question_key=config.question_key,
        answer_key=config.answer_key,
        limit=config.num_samples,
        needs_answer=needs_answer,
        check=None if accepted is None else partial(check_row, [accepted]),
    )
    if config.num_samples is not None and len(read.items) < config.num_samples:
        say(f"{config.source}: has {len(read.items)} usable rows, fewer than --num-samples {config.num_samples}: all")
    invalid = unreadable(read.items) if needs_answer else []
    usable = [p for p in read.items if not needs_answer or readable(p.answer)]
    rejected = [*read.rejected, *invalid]
    tests = read_problems(config.decontaminate) if config.decontaminate else None
    if tests is not None:
        usable, leaked = _without_tests(usable, tests)
        rejected += leaked
    i, n = config.shard_of
    if not usable[i::n]:
        why = f"; first: {rejected[0].origin}: {rejected[0].reason}" if rejected else ""
        raise ToolError(f"{config.source}: no question is left ({read.n_read} read, {len(rejected)} rejected{why})")
    return Questions(usable[i::n], rejected, read, tests)


def _without_tests(problems: list[Problem], tests: Collected[Problem]) -> tuple[list[Problem], list[Rejected]]:
    """Leave out questions that share all their words, or N_GRAM words in a row, with a test question."""
    known: dict[tuple[str, ...], str] = {}
    for test in tests.items:
        for gram in _grams(test.question):
            known.setdefault(gram, str(test.origin))
    usable, rejected = [], []
    for problem in problems:
        where = next((known[gram] for gram in _grams(problem.question) if gram in known), None)
        if where is None:
            usable.append(problem)
        else:
            rejected.append(_rejected(problem, f"is in the test set, {where}"))
    return usable, rejected


def _grams(text: str) -> list[tuple[str, ...]]:
    words = tuple(_WORD.findall(text.casefold()))
    return [words, *(words[i : i + N_GRAM] for i in range(len(words) - N_GRAM + 1))]


def _rejected(problem: Problem, reason: str) -> Rejected:
    return Rejected(problem.origin or Origin("?", 0), reason, problem.question[:200])
