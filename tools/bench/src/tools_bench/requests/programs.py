"""Programs to write: the tests of a row, and what a model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools_shared.code import TEST_COLUMNS, read_tests, stub_of
from tools_shared.sources import as_list

_MARKS = (("test", "entry_point"), ("test_list",), ("input_output",), ("test_cases",), ("verification_info",))


def has_tests(data: Mapping[str, Any]) -> bool:
    """Whether a row looks like a program to write (a gold answer in `ground_truth` alone is none)."""
    return any(all(data.get(name) for name in names) for names in _MARKS)


def tests_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the tests of a row are read from. Raises UnusableError for a row without any."""
    read_tests(data)
    return {name: data[name] for name in TEST_COLUMNS if data.get(name) is not None}


def asked_for(question: str, tests: Mapping[str, Any]) -> str:
    """The request: a function that the row begins, or a program; with the asserts where those alone name the function,
    as in MBPP."""
    if stub_of({**tests, "prompt": question}) is not None:
        return (
            "Complete this Python function. Reply with the whole function in one Python code block.\n\n"
            f"```python\n{question.rstrip()}\n```"
        )
    asserts = [test for test in as_list(tests.get("test_list")) or [] if isinstance(test, str)]
    shown = "\n\nThe program has to pass these tests:\n\n```python\n" + "\n".join(asserts) + "\n```" if asserts else ""
    return f"{question.rstrip()}{shown}\n\nReply with the whole Python program in one code block."
