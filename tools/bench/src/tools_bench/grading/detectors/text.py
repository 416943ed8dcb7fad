"""Sentences and numbers of a reply; every pattern here is linear in the length of the text."""

from __future__ import annotations

import re

LONGEST = 20_000
"""Characters that a detector looks at: what a tutor says is far shorter."""
_NUMBER = re.compile(r"[0-9][0-9,]*(?:\.[0-9]+)?")
_END = re.compile(r"(?<=[.!?])[\"')*]*\s+|\n+")


def sentences(text: str) -> list[str]:
    return [part for part in _END.split(text[:LONGEST]) if part.strip()]


def is_question(sentence: str) -> bool:
    return sentence.rstrip("\"')* \t").endswith("?")


def numbers(text: str) -> set[str]:
    """The numbers in a text, written alike: without thousands separators and `.00`."""
    return {n.replace(",", "").removesuffix(".00") for n in _NUMBER.findall(text[:LONGEST])}


def plain(text: str) -> str:
    """With straight quotation marks."""
    return text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
