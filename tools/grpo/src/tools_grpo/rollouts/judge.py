"""Scoring completions beside TRL's step: before training, and where it is decided which groups to train on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tools_shared.engines import Completion
from tools_shared.rewards import NamedReward, Reward, load_rewards


class Judge:
    """The run's rewards, their weighted sum, and what counts as solving a problem.

    A completion solves its problem (a pass of the prompt ledger) when its answer is right, as the reward `correct`
    says; where all rewards are functions of the user's own, when their weighted sum is above 0: what a right answer
    is, only they know.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.rewards = rewards
        profile = next((reward.profile for reward in rewards if isinstance(reward, NamedReward)), None)
        self.correct = load_rewards(["correct"], profile)[0] if profile else None

    def scores(
        self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion], **context: Any
    ) -> list[tuple[float, ...]]:
        """Each completion's rewards in the order of the run's, NaN for None.

        `rows` are the training row of each completion; `context` is what TRL passes besides the columns.
        """
        columns = [reward(**_columns(rows, completions), **context) for reward in self.rewards]
        return [tuple(math.nan if v is None else float(v) for v in row) for row in zip(*columns, strict=True)]

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
        if self.correct is None:
            return [self.total(values) > 0 for values in scores]
        return [value == 1 for value in self.correct(**_columns(rows, completions))]


def has_spread(totals: Sequence[float]) -> bool:
    """Whether a group's weighted rewards differ; those that are NaN have no part in the advantages."""
    return len({total for total in totals if not math.isnan(total)}) > 1


def nothing(*_: Any) -> None:
    """TRL's `log_extra` and `log_metric` where there is no step to log for."""


def _columns(rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> dict[str, Any]:
    """A reward's arguments, as TRL makes them of the training rows."""
    return {
        "prompts": [row["prompt"] for row in rows],
        "completions": [completion.text for completion in completions],
        "completion_ids": [list(completion.token_ids) for completion in completions],
        **{key: [row[key] for row in rows] for key in rows[0] if key != "prompt"},
    }
