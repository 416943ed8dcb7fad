"""`code:python`: 1 for a program that passes the row's tests in the sandbox, else 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tools_shared.code import TEST_COLUMNS, grade_programs, program_for, read_tests
from tools_shared.prompts import Profile
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores
from tools_shared.sandbox import check_sandbox


@dataclass(frozen=True)
class CodeReward(Reward):
    """See `tools_shared.code` for where a row's tests and a completion's program are."""

    profile: Profile = field(repr=False, compare=False)

    is_slow: ClassVar[bool] = True

    @classmethod
    def load(cls, weight: float, profile: Profile) -> CodeReward:
        check_sandbox()
        return cls("code:python", weight, profile)

    def check_row(self, columns: Mapping[str, Any]) -> None:
        read_tests(columns)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        names = (*TEST_COLUMNS, "question")
        rows = [{n: columns[n][i] for n in names if n in columns} for i in range(len(completions))]
        think, answer = self.profile.think, self.profile.answer
        programs = [
            program_for(completion_text(c), row, think, answer) for c, row in zip(completions, rows, strict=True)
        ]
        verdicts = grade_programs(programs, [read_tests(row) for row in rows])
        return [float(verdict.passed) for verdict in verdicts]
