"""Score completions outside TRL's step: before training, and to choose the groups to train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tools_grpo.environments.episodes import Episode
from tools_grpo.environments.rewards import COLUMN
from tools_grpo.rollouts.ahead import JudgedAhead
from tools_shared import processes
from tools_shared.engines import Completion
from tools_shared.rewards import NamedReward, Reward, load_rewards, reward_arguments


class Judge:
    """The run's rewards, their weighted sum, and what counts as solving a problem.

    A completion solves its problem (a pass of the prompt ledger) when its answer is right, as the reward `correct`
    says; where its row has no gold answer, or all rewards are functions of the user's own, when their weighted sum is
    above 0: what a right answer is, only they know.
    """

    def __init__(self, rewards: Sequence[Reward], rows: Sequence[dict[str, Any]] = ()) -> None:
        """`rows` are what rewards see of each problem (`reward_rows`), by its number in the training rows."""
        self.rewards, self.rows = rewards, rows
        self.ahead = {reward.name: JudgedAhead(reward, self._call) for reward in rewards if reward.is_slow}
        self._context: dict[str, Any] = {}
        profile = next((reward.profile for reward in rewards if isinstance(reward, NamedReward)), None)
        self.correct = load_rewards(["correct"], profile)[0] if profile else None

    def scores(
        self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion], **context: Any
    ) -> list[tuple[float, ...]]:
        """Each completion's rewards in the order of the run's, NaN for None.

        `rows` are the training row (`training_row`) of each completion; `context` is what TRL passes besides the
        columns.
        """
        self._context = context
        columns = [
            self.ahead[reward.name].take(rows, completions)
            if reward.name in self.ahead
            else self._call(reward, rows, completions)
            for reward in self.rewards
        ]
        return [tuple(math.nan if v is None else float(v) for v in row) for row in zip(*columns, strict=True)]

    def start(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion], **context: Any) -> None:
        """Have a group judged by the rewards that take long, while others are sampled; see `scores`."""
        self._context = context
        for ahead in self.ahead.values():
            ahead.add(rows, completions)

    def _call(
        self, reward: Reward, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]
    ) -> list[float | None]:
        return reward(**self._arguments(rows, completions), **self._context)

    def first_batch(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> list[str]:
        """What the rewards have to say about a first batch, which has been scored."""
        arguments = self._arguments(rows, completions)
        return [line for reward in self.rewards for line in reward.first_batch(arguments)]

    def facts(self) -> dict[str, float]:
        """What the rewards have cost on all processes since this was asked the last time, and what their scores go
        with on this one; by the names of metrics."""
        mine = [reward.spent() for reward in self.rewards if reward.is_slow]
        sums: dict[str, float] = {}
        for part in processes.gather(mine) if self.ahead else []:
            for spent in part:
                for name, value in spent.items():
                    sums[f"judge/{name}"] = sums.get(f"judge/{name}", 0.0) + value
        signs = {
            f"signs/{reward.name}/{name}": value for reward in self.rewards for name, value in reward.signs().items()
        }
        return sums | signs

    def total(self, scores: Sequence[float]) -> float:
        """The weighted sum without those that are NaN; NaN where all are, as such a completion has no reward."""
        parts = [r.weight * v for r, v in zip(self.rewards, scores, strict=True) if not math.isnan(v)]
        return sum(parts) if parts else math.nan

    def solved(
        self,
        rows: Sequence[dict[str, Any]],
        completions: Sequence[Completion],
        scores: Sequence[Sequence[float]],
    ) -> list[bool]:
        """Which completions solve their problem; one that cannot be judged does not."""
        paid = [self.total(values) > 0 for values in scores]
        if self.correct is None:
            return paid
        right = self.correct(**self._arguments(rows, completions))
        has_answer = [self.rows[row["row"]]["answer"] is not None for row in rows]
        return [value == 1 if known else sum_ for value, known, sum_ in zip(right, has_answer, paid, strict=True)]

    def _arguments(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> dict[str, Any]:
        ids = [c.own_ids if isinstance(c, Episode) else c.token_ids for c in completions]
        found = reward_arguments([self.rows[row["row"]] for row in rows], [c.text for c in completions], ids)
        scores = [c.score for c in completions if isinstance(c, Episode)]
        return found | ({COLUMN: scores} if scores else {})


def training_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the trainer's dataset holds of each problem: its prompt, and where its columns are. The columns themselves
    need not have the same types in all rows, as a dataset's must."""
    return [{"prompt": row["prompt"], "row": number} for number, row in enumerate(rows)]


def has_spread(totals: Sequence[float]) -> bool:
    """Whether a group's weighted rewards differ; those that are NaN have no part in the advantages."""
    return len({total for total in totals if not math.isnan(total)}) > 1


def nothing(*_: Any) -> None:
    """TRL's `log_extra` and `log_metric` where there is no step to log for."""
