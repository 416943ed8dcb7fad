"""Make text safe to print: nothing that controls the terminal, and no secret."""

from __future__ import annotations

import os
import re
import sys
from typing import IO, Any

import click

from tools_shared.addresses import shown_text

STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # direction of writing
    "\u180e\u200b\u2028\u2029\u2060-\u2065\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # invisible, and line separators
    "\ud800-\udfff]"  # half a surrogate pair, which no terminal's encoding has
)


def printable(text: str) -> str:
    """The text with each character that could steer a terminal as an escape; tab and line feed stay."""
    return STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Any) -> str:
    """What is printed of a value: printable, and without the secrets of addresses."""
    return printable(shown_text(str(value)))


_PAINT = (
    (re.compile(r"^(warning|error)\b", re.IGNORECASE | re.MULTILINE), {"fg": "red", "bold": True}),
    (re.compile(r"^note\b", re.IGNORECASE | re.MULTILINE), {"fg": "yellow"}),
    (re.compile(r"\b(improved|verified)\b"), {"fg": "green"}),
    (re.compile(r"\b(regressed|failed)\b"), {"fg": "red"}),
    (re.compile(r"\b(inconclusive)\b"), {"fg": "yellow"}),
    (re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)? %"), {"bold": True}),
)
"""What is coloured on a terminal, and how."""
_HEADER = re.compile(r"\A *\S[^\d\n]*? {2,}\S[^\d\n]*(?=\n *\S.*? {2,}\S)")
"""The first line of a table: names of columns, apart by two blanks, above a line that is so too."""


def painted(text: str, stream: IO[str]) -> str:
    """A text that is printable already, with colours where the stream is a terminal and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    text = _HEADER.sub(lambda found: click.style(found[0], underline=True), text)
    for pattern, how in _PAINT:
        text = pattern.sub(lambda found, how=how: click.style(found[0], **how), text)  # type: ignore[misc]
    return text


def tell(message: str) -> None:
    """A line on stderr."""
    click.echo(painted(shown(message), sys.stderr), err=True)
