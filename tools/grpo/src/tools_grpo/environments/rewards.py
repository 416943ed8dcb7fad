"""The reward `environment`: what the environment itself says of an episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools_grpo.environments.load import World
from tools_shared.errors import ToolError
from tools_shared.rewards import Reward

NAME = "environment"
COLUMN = "environment_score"
"""What `get_reward` returned, beside the columns of the row."""


class EnvironmentReward(Reward):
    """`get_reward()` of the episode's environment, None where it gave none."""

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return list(columns.get(COLUMN) or [None] * len(completions))


def split_rewards(specs: Sequence[str], world: World | None) -> tuple[list[str], list[EnvironmentReward]]:
    """`--reward` without `environment[:WEIGHT]`, and that one. Raises ToolError where there is no such reward."""
    own = [spec for spec in specs if spec.partition(":")[0] == NAME]
    if not own:
        return list(specs), []
    if world is None or not world.has_reward:
        raise ToolError("--reward environment: needs an --environment with a method get_reward()")
    if len(own) > 1:
        raise ToolError("--reward environment: is given twice; give it once")
    weight = own[0].partition(":")[2] or "1"
    try:
        return [spec for spec in specs if spec not in own], [EnvironmentReward(NAME, float(weight))]
    except ValueError:
        raise ToolError(f"--reward {own[0]}: the weight '{weight}' must be a number") from None
