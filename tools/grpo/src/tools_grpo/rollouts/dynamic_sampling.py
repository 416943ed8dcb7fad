"""Filling a step with groups that teach something: new problems for zero-variance groups and for skipped ones.

As DAPO's dynamic sampling (Yu et al. 2025, section 3.2), with a bound on the samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from tools_grpo.config import GrpoConfig
from tools_grpo.ledgers.prompts import PromptLedger
from tools_grpo.rollouts.judge import Judge, has_spread
from tools_grpo.rollouts.sampler import Sampler
from tools_shared import processes
from tools_shared.engines import Completion

Score = Callable[[Sequence[dict[str, Any]], Sequence[Completion]], list[tuple[float, ...]]]
"""The rewards of each completion, for its training row."""


@dataclass(frozen=True)
class Group:
    """A problem's training row, its completions, and the rewards of each."""

    row: dict[str, Any]
    completions: Sequence[Completion]
    scores: Sequence[tuple[float, ...]]


@dataclass
class Filled:
    """This process's groups of a step, and those that were sampled and given up for them."""

    groups: list[Group]
    n_skipped: int
    given_up: list[Group] = field(default_factory=list)

    @property
    def completions(self) -> list[Completion]:
        return [completion for group in self.groups for completion in group.completions]

    @property
    def scores(self) -> list[tuple[float, ...]]:
        return [values for group in self.groups for values in group.scores]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The training row of each completion."""
        return [group.row for group in self.groups for _ in group.completions]


OnGroup = Callable[[int, list[Completion]], None]
"""Told of a group's completions by its number, as soon as they are sampled."""


class Filler:
    """Samples a step's groups ahead of TRL, so that it sees one batch as always."""

    def __init__(
        self, config: GrpoConfig, rows: Sequence[dict[str, Any]], sampler: Sampler, ledger: PromptLedger, judge: Judge
    ) -> None:
        self.config, self.rows, self.sampler, self.ledger, self.judge = config, rows, sampler, ledger, judge
        self.ahead: Callable[[Sequence[dict[str, Any]]], OnGroup | None] = lambda rows: None

    def fill(self, inputs: Sequence[dict[str, Any]], step: int, score: Score) -> Filled:
        """Groups for the prompts of `inputs`, in which each occurs once for every completion.

        Where the problems run out, a prompt that would be skipped and a zero-variance group stay.
        """
        planned = list(inputs[:: self.config.num_generations])
        others = self._others(planned, step)
        rows = [next(others, row) if self._skips(row) else row for row in planned]
        n_skipped = sum(row is not before for row, before in zip(rows, planned, strict=True))
        filled = Filled(self._draw(rows, step, score), n_skipped)
        for _ in range(self.config.dynamic_sampling):
            flat = [i for i, group in enumerate(filled.groups) if not self._has_spread(group)]
            new = list(islice(others, len(flat)))
            if not new:
                break
            for i, group in zip(flat, self._draw(new, step, score), strict=False):  # the last problems may be fewer
                filled.given_up.append(filled.groups[i])
                filled.groups[i] = group
        return filled

    def _others(self, planned: Sequence[dict[str, Any]], step: int) -> Iterator[dict[str, Any]]:
        """This process's part of the problems that the step does not have yet, in an order of (seed, step) alone.

        A problem is sampled once a step: a second group would repeat the first's completions.
        """
        seen = {text for part in processes.gather([row["prompt"] for row in planned]) for text in part}
        return islice(
            self._unseen(seen, Random(f"{self.config.seed}:{step}")), processes.rank(), None, processes.count()
        )

    def _unseen(self, seen: set[str], random: Random) -> Iterator[dict[str, Any]]:
        for i in shuffled(len(self.rows), random):
            row = self.rows[i]
            if row["prompt"] not in seen and not self._skips(row):
                seen.add(row["prompt"])
                yield row

    def _skips(self, row: dict[str, Any]) -> bool:
        return self.ledger.skips(self.sampler.prompts[row["prompt"]][0])

    def _has_spread(self, group: Group) -> bool:
        return has_spread([self.judge.total(values) for values in group.scores])

    def _draw(self, rows: Sequence[dict[str, Any]], step: int, score: Score) -> list[Group]:
        n = self.config.num_generations
        repeated = [row for row in rows for _ in range(n)]
        texts = [row["prompt"] for row in repeated]
        completions = self.sampler.draw(texts, step, self.ahead(rows))
        scores = score(repeated, completions)
        return [Group(row, completions[i * n : i * n + n], scores[i * n : i * n + n]) for i, row in enumerate(rows)]


def shuffled(n: int, random: Random) -> Iterator[int]:
    """0 .. n - 1 in random order, in time and memory of what is taken of it (Fisher and Yates, from the front)."""
    moved: dict[int, int] = {}
    for i in range(n):
        j = random.randrange(i, n)
        here = moved.pop(i, i)
        if j == i:
            yield here
        else:
            yield moved.get(j, j)
            moved[j] = here
