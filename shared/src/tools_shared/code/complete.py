"""A function that a row begins and a completion writes, or goes on with (HumanEval)."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from typing import Any

from tools_shared.code.cases import TEST_KEYS
from tools_shared.code.extract import program_in

TEST_COLUMNS = (
    *dict.fromkeys(key.split(".")[0] for key in TEST_KEYS),
    *("entry_point", "test_imports", "test_setup_code", "prompt_setup", "fn_name"),
)
"""The columns of a row that decide whether a program passes."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def stub_of(row: Mapping[str, Any]) -> str | None:
    """The beginning of the program that a row gives: a `prompt` or `question` that defines its `entry_point`."""
    entry = row.get("entry_point")
    texts = (row.get(name) for name in ("prompt", "question"))
    return next(
        (t for t in texts if isinstance(t, str) and isinstance(entry, str) and _start(t, entry) is not None), None
    )


def program_for(
    text: str, row: Mapping[str, Any], think: tuple[str, str] | None = None, answer: tuple[str, str] | None = None
) -> str | None:
    """The program that a completion gives for a row, None where it gives none. See `program_in`.

    Where the row begins a function, a completion that defines it gets what stands before it there (imports, helpers);
    one that goes on with its body gets all of it.
    """
    program, stub = program_in(text, think, answer), stub_of(row)
    if stub is None:
        return program
    entry = row["entry_point"]
    if program is not None and _start(program, entry) is not None:
        head = "".join(stub.splitlines(keepends=True)[: _start(stub, entry)])
        return program if head.strip() in program else _joined(head, program)
    body = program if program is not None else text.rpartition(think[1])[2] if think else text
    indented = textwrap.indent(textwrap.dedent(body), "    ")
    whole = (f"{stub.rstrip()}\n{part.rstrip()}\n" for part in (body.lstrip("\n"), indented) if part.strip())
    return next((one for one in whole if _goes_on(one, stub, entry)), program)


def _joined(head: str, program: str) -> str:
    """Both, with `from __future__` at the very beginning, where alone it is allowed."""
    lines = program.splitlines(keepends=True)
    future = [line for line in lines if line.startswith("from __future__")]
    return "".join([*future, head, *(line for line in lines if line not in future)])


def _goes_on(whole: str, stub: str, entry: str) -> bool:
    """Whether the function is longer than the stub has it."""
    return _length(whole, entry) > _length(stub, entry)


def _length(source: str, entry: str) -> int:
    tree = _parsed(source)
    return (
        max((len(n.body) for n in tree.body if isinstance(n, _FUNCTIONS) and n.name == entry), default=0) if tree else 0
    )


def _start(source: str, entry: str) -> int | None:
    """How many lines stand before the definition of a function; None where it is not defined."""
    tree = _parsed(source)
    found = [n for n in tree.body if isinstance(n, _FUNCTIONS) and n.name == entry] if tree else []
    return min([found[0].lineno, *(d.lineno for d in found[0].decorator_list)]) - 1 if found else None


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
