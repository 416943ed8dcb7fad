"""Whether a program passes its tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tools_shared.code.cases import CallTest, CheckTest, CodeTests, IoTest
from tools_shared.sandbox import SandboxLimits, SandboxOutcome, run_program

NO_PROGRAM = "no program"


@dataclass(frozen=True)
class CodeVerdict:
    """`passed`: every test. `reason` says why not, of the first test that failed."""

    passed: bool
    n_passed: int
    n_tests: int
    reason: str = ""

    @property
    def has_program(self) -> bool:
        return self.reason != NO_PROGRAM


def grade_program(program: str | None, tests: CodeTests, limits: SandboxLimits | None = None) -> CodeVerdict:
    """Run `program` (None: the completion has none) on all of `tests`; those of standard input until one fails.

    Expected outputs and values stay outside the sandbox. Checks (statements) run inside it beside the program, which
    could be written to deceive them; asserts that compare with a literal do not. Raises ToolError where no sandbox can
    be made.
    """
    n = len(tests.items)
    if program is None:
        return CodeVerdict(False, 0, n, NO_PROGRAM)
    calls = [test for test in tests.items if isinstance(test, CallTest)]
    checks = [test for test in tests.items if isinstance(test, CheckTest)]
    n_passed, reason = 0, ""
    if calls or checks:
        source = f"{tests.setup}\n{program}" if tests.setup else program
        outcome = run_program(source, calls=[t.call for t in calls], checks=[t.source for t in checks], limits=limits)
        n_passed, reason = _values(outcome, calls, len(checks))
    for test in tests.items:
        if isinstance(test, IoTest) and not reason:
            outcome = run_program(program, test.stdin, limits=limits)
            reason = _printed(outcome, test)
            n_passed += not reason
    return CodeVerdict(n_passed == n, n_passed, n, reason)


def grade_programs(
    programs: Sequence[str | None], tests: Sequence[CodeTests], limits: SandboxLimits | None = None
) -> list[CodeVerdict]:
    """`grade_program` of each, as many side by side as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(grade_program, programs, tests, [limits] * len(programs)))


def _values(outcome: SandboxOutcome, calls: Sequence[CallTest], n_checks: int) -> tuple[int, str]:
    """How many calls gave what they should and checks held, and why the first did not."""
    n_passed, reason = 0, ""
    for i in range(len(calls) + n_checks):
        said = outcome.values[i] if i < len(outcome.values) else None
        if said is None:
            reason = reason or _ended(outcome) or "it ended before the tests"
        elif "error" in said:
            reason = reason or said["error"]
        elif i < len(calls) and not _same(said["value"], calls[i]):
            reason = reason or f"{calls[i].call[:80]} is {str(_value(said['value']))[:80]}"
        else:
            n_passed += 1
    return n_passed, reason


def _printed(outcome: SandboxOutcome, test: IoTest) -> str:
    if not outcome.succeeded:
        return _ended(outcome) or f"exit code {outcome.exit_code}"
    if _lines(outcome.stdout) != _lines(test.stdout):
        return f"printed {outcome.stdout[:80]!r} instead of {test.stdout[:80]!r}"
    return ""


def _ended(outcome: SandboxOutcome) -> str:
    if outcome.ending == "time":
        return "time limit"
    if outcome.ending == "output":
        return "output limit"
    last = outcome.stderr.strip().rpartition("\n")[2][:160]
    return last or ("killed" if outcome.ending == "killed" else "")


def _lines(text: str) -> list[list[str]]:
    """The words of each line; empty lines at the end do not count."""
    lines = [line.split() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same(value: Any, test: CallTest) -> bool:
    """Equal as Python has it; where what is expected is JSON's, which has no tuples, a tuple is a list."""
    try:
        found = _value(value)
    except (KeyError, TypeError, ValueError, RecursionError):  # no value of the harness's: the program wrote it
        return False
    return (_untupled(found) if test.is_json else found) in test.accepted


def _value(value: Any) -> Any:
    """What `harness.plain` wrote, read back."""
    if not isinstance(value, list):
        return value
    kind, items = value
    if kind == "bytes":
        return bytes(items)
    if kind == "complex":
        return complex(*items)
    if kind == "dict":
        return {_value(k): _value(v) for k, v in items}
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(_value, items))


def _untupled(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_untupled(item) for item in value]
    return value
