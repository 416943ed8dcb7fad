"""Errors the user can fix. Everything else is a bug and keeps its traceback."""

from __future__ import annotations

import reprlib
from typing import Any


class ToolError(Exception):
    """Something the user can fix: the message names the place, the value and the remedy, in one line."""

    exit_code = 1


class Incomplete(ToolError):
    """The work stopped before its end but what is finished is kept; the same command resumes from there."""

    exit_code = 3


class UnusableError(Exception):
    """Why one row cannot be used; its message becomes the reason of a `Rejected`."""


def brief(value: Any, most: int = 120, quoted: bool = True) -> str:
    """A value as an error message quotes it, cut to a fixed length, however large or deep the value is."""
    if isinstance(value, str):
        text = repr(value[:most]) if quoted else value[:most]
        return text + " ..." if len(value) > most else text
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 3 * most:
        return f"a number of {value.bit_length()} bits"
    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxother, short.maxlong = 3, 4, 4, most, most
    try:
        return short.repr(value)[:most]
    except ValueError:  # an integer too long to be written in decimal, inside a list
        return f"a {type(value).__name__} with a very long number"
