"""What a reward is called with: every column of the row, the same in the reward check, in training and wherever else
completions are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tools_shared.errors import UnusableError
from tools_shared.records import Problem

if TYPE_CHECKING:
    from tools_shared.rewards.named import Reward

PASSED = (
    "prompts",
    "completions",
    "completion_ids",
    "opens_thinking",
    "trainer_state",
    "log_extra",
    "log_metric",
)
"""Arguments that are no columns of a row; a column of such a name is left out."""
_TAKEN = ("prompt", "completion", "environments", *PASSED)


def reward_rows(
    problems: Sequence[Problem], prompts: Sequence[str], opens_thinking: Sequence[bool]
) -> list[dict[str, Any]]:
    """The row of each problem as rewards see it: its columns as they were read (those that other rows have are None),
    and `question`, `answer` (the final answer alone, None where there is none), `reasoning`, `id`, the prompt's text
    and whether it opens the thinking."""
    names = dict.fromkeys(str(name) for problem in problems for name in problem.row)
    return [
        {
            **{name: problem.row.get(name) for name in names if name not in _TAKEN},
            "id": problem.id,
            "question": problem.question,
            "answer": problem.answer or None,
            "reasoning": problem.reasoning,
            "prompt": prompt,
            "opens_thinking": opened,
        }
        for problem, prompt, opened in zip(problems, prompts, opens_thinking, strict=True)
    ]


def reward_arguments(
    rows: Sequence[dict[str, Any]], completions: Sequence[str], token_ids: Sequence[Sequence[int]] | None = None
) -> dict[str, Any]:
    """A reward's arguments, as TRL names them, for a completion of each of `rows` (see `reward_rows`). Without
    `token_ids` words stand for tokens."""
    ids = token_ids if token_ids is not None else [range(len(text.split())) for text in completions]
    return {
        "prompts": [row["prompt"] for row in rows],
        "completions": list(completions),
        "completion_ids": [list(one) for one in ids],
        **{name: [row[name] for row in rows] for name in rows[0] if name != "prompt"},
    }


def check_row(rewards: Sequence[Reward], problem: Problem) -> None:
    """Raise UnusableError, naming the column, for a problem that lacks what one of the rewards wants."""
    (row,) = reward_rows([problem], [""], [False])
    for reward in rewards:
        if reward.needs_answer and not problem.answer:
            raise UnusableError(f"no column \"answer\", which the reward '{reward.name}' wants")
        reward.check_row(row)
