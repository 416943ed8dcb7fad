"""The program in a completion."""

from __future__ import annotations

import ast
import re

_FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_PYTHON = ("python", "python3", "py", "py3")


def program_in(text: str, think: tuple[str, str] | None = None, answer: tuple[str, str] | None = None) -> str | None:
    """The Python program that a completion gives, None where it gives none.

    What stands before the end of the thinking (`think`, its tags) is not looked at. The last fenced block that says it
    is Python counts, else the last one that names no language; without a fence the text inside the `answer` tags or
    the whole text, where it parses as Python.
    """
    if think and think[1] in text:
        text = text.rpartition(think[1])[2]
    blocks = [(match[2].lower(), match[3]) for match in _FENCE.finditer(text)]
    for languages in (_PYTHON, ("",)):
        if found := [code for language, code in blocks if language in languages]:
            return found[-1]
    if blocks:
        return None
    if answer and answer[0] in text:
        text = text.rpartition(answer[0])[2].partition(answer[1])[0]
    return text if _parses(text) else None


def _parses(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
