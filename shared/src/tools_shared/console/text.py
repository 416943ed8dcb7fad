"""What may be printed of a text: nothing that steers the terminal, and no secret."""

from __future__ import annotations

import re
from typing import Any

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


def tell(message: str) -> None:
    """A line on stderr."""
    click.echo(shown(message), err=True)
