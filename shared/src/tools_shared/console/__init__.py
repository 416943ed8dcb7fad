"""All terminal output goes through this module: results on stdout, everything else on stderr.

Rows, models, servers and files may hold characters that steer a terminal (set its title, move its cursor, turn the
direction of writing around); they are shown as escapes (`\\x1b`, `\\u202e`). Secrets in addresses are left out.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from types import TracebackType
from typing import Any

import click

from tools_shared import processes
from tools_shared.addresses import shown_text
from tools_shared.console.progress import Progress, above_bars, progress
from tools_shared.console.text import STEERING, painted, printable, shown, tell

__all__ = [
    "LogFormatter",
    "Progress",
    "printable",
    "progress",
    "say",
    "say_address",
    "show",
    "show_either",
    "show_help",
    "show_json",
    "show_traceback",
    "shown",
    "tell",
]


def show(value: Any) -> None:
    """The result, on stdout."""
    click.echo(painted(shown(value), sys.stdout))


def show_help(text: str, color: bool | None = None) -> None:
    """A help text of ours, on stdout, with its colours on a terminal."""
    click.echo(text, color=color)


def show_json(value: Any) -> None:
    """The result as one line of JSON on stdout; what could steer a terminal is escaped as JSON does it."""
    text = json.dumps(value, ensure_ascii=False)
    click.echo(STEERING.sub(lambda found: json.dumps(found[0])[1:-1], shown_text(text)))


def show_either(result: Any, text: Any, as_json: bool) -> None:
    """The result on stdout: `result` for a program that asks for JSON, else `text` for a person."""
    show_json(result) if as_json else show(text)


def say(message: str) -> None:
    """A line about what goes on, on stderr: stdout belongs to the result. Of several processes rank 0 speaks."""
    if processes.is_main():
        with above_bars():
            tell(message)


def say_address(words: str, address: str) -> None:
    """Print on stderr the address of a service of this process, with any token in it: the reader has no other way to
    learn that. Everything else is printed by `say`, which leaves secrets out."""
    click.echo(f"{shown(words)} {printable(address)}", err=True)


class LogFormatter(logging.Formatter):
    """Log lines of ours and of libraries, printable."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A bug's traceback, printable: its message may quote what came from outside."""
    sys.stderr.write(shown("".join(traceback.format_exception(kind, error, trace))))
