"""`code:python`: 1 for a program that passes the row's tests in the sandbox, else 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tools_shared.code import TEST_KEYS, grade_programs, program_in, read_tests
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
        names = {key.split(".")[0] for key in TEST_KEYS} | {"entry_point", "test_imports", "test_setup_code", "fn_name"}
        rows = [{n: columns[n][i] for n in names if n in columns} for i in range(len(completions))]
        programs = [program_in(completion_text(one), self.profile.think, self.profile.answer) for one in completions]
        verdicts = grade_programs(programs, [read_tests(row) for row in rows])
        return [float(verdict.passed) for verdict in verdicts]
