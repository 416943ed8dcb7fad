"""Programs: those of stored replies, run on the tests of their items in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.code import CodeVerdict, grade_programs, program_for, read_tests
from tools_shared.console import progress
from tools_shared.prompts import Profile

AT_ONCE = 64


def run_programs(pairs: Sequence[tuple[Item, Response]], profile: Profile) -> list[CodeVerdict | None]:
    """Whether the program of each reply passes; None for a request that failed. Raises ToolError where no sandbox can
    be made."""
    answered = [(item, response) for item, response in pairs if response.error is None]
    found: list[CodeVerdict] = []
    with progress(total=len(answered), label="running programs", unit="program") as bar:
        for start in range(0, len(answered), AT_ONCE):
            some = answered[start : start + AT_ONCE]
            programs = [
                program_for(r.text, {**i.tests, "prompt": i.question}, profile.think, profile.answer) for i, r in some
            ]
            found += grade_programs(programs, [read_tests(i.tests) for i, _ in some])
            bar.update(len(some))
    verdicts = iter(found)
    return [None if response.error is not None else next(verdicts) for _, response in pairs]
