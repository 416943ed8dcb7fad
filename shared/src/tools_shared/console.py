"""All that people see on a terminal goes through here: results on stdout, everything else on stderr.

Rows, models, servers and files may hold characters that steer a terminal (set its title, move its cursor, turn the
direction of writing around); they are shown as escapes (`\\x1b`, `\\u202e`). Secrets in addresses are left out.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from tools_shared import processes
from tools_shared.addresses import shown_text

T = TypeVar("T")

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction of writing
    "\u180e\u200b\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible, and line separators
    "\ud800-\udfff]"  # half a surrogate pair, which no terminal's encoding has
)


def printable(text: str) -> str:
    """The text with each character that could steer a terminal as an escape; tab and line feed stay."""
    return _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Any) -> str:
    """What is printed of a value: printable, and without the secrets of addresses."""
    return printable(shown_text(str(value)))


def show(value: Any) -> None:
    """The result, on stdout."""
    click.echo(shown(value))


def show_json(value: Any) -> None:
    """The result as one line of JSON on stdout; what could steer a terminal is escaped as JSON does it."""
    text = json.dumps(value, ensure_ascii=False)
    click.echo(_STEERING.sub(lambda found: json.dumps(found[0])[1:-1], shown_text(text)))


def show_either(result: Any, text: Any, as_json: bool) -> None:
    """The result on stdout: `result` for a program that asks for JSON, else `text` for a person."""
    show_json(result) if as_json else show(text)


def tell(message: str) -> None:
    """A line on stderr."""
    click.echo(shown(message), err=True)


def say(message: str) -> None:
    """A line about what goes on, on stderr: stdout belongs to the result. Of several processes rank 0 speaks."""
    if processes.is_main():
        tell(message)


def progress(items: Iterable[T] | None = None, *, total: int | None = None, label: str = "", unit: str = "it") -> Any:
    """A progress bar with the time left on stderr, shown only on a terminal; the object is tqdm's, or does nothing."""
    if not sys.stderr.isatty():
        return SilentBar(items)
    from tqdm import tqdm

    return tqdm(items, total=total, desc=shown(label), unit=unit, leave=False, dynamic_ncols=True)


class LogFormatter(logging.Formatter):
    """Log lines of ours and of libraries, printable."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug's traceback, printable: its message may quote what came from outside."""
    sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))


class SilentBar:
    """What the bar of tqdm is to its callers, without loading it."""

    def __init__(self, items: Iterable[Any] | None) -> None:
        self._items, self.n = items, 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items or ())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def update(self, n: int = 1) -> None:
        self.n += n

    def set_postfix_str(self, said: str) -> None:
        """Nobody reads it."""
