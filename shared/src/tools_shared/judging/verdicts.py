"""The verdict in a judge's reply."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tools_shared.files.literals import ERRORS, literal, parsed
from tools_shared.judging.rubric import Criterion, Rubric
from tools_shared.prompts.templates import written_block

T = TypeVar("T")

WORDS = {
    **dict.fromkeys(
        ("true", "yes", "ja", "oui", "s\u00ed", "s\u00ec", "sim", "\u0434\u0430", "\u662f", "\u306f\u3044"), True
    ),
    **dict.fromkeys(("false", "no", "nein", "nee", "non", "n\u00e3o", "\u043d\u0435\u0442", "\u5426"), False),
    **dict.fromkeys(("\u4e0d\u662f", "\u3044\u3044\u3048"), False),
}
"""Words in quotation marks that judges write for JSON's true and false, also where a rubric is not in English."""
TIES = ("TIE", "EQUAL", "DRAW", "BOTH", "NEITHER", "SAME")
MOST_OBJECTS = 200
"""How many braces of a reply are tried as the beginning of a verdict."""
LONGEST = 20_000
"""Characters of an object that is not quite JSON; a longer one is not read."""
_FINAL = "<|channel|>final<|message|>"
_DECODER = json.JSONDecoder()
_FLAT = re.compile(r"\{[^{}]*\}")
_OF = re.compile(r"\s*(\S+?)\s*(?:/|out of)\s*(\S+)\s*")
_COMMA = re.compile(r"\s*-?\d+,\d{1,2}\s*")
_REPLY = re.compile(r"^(?:REPLY|RESPONSE|ANSWER)\s+")


def visible(text: str) -> str:
    """What a reader sees of a reply: what comes after its reasoning, or before it where the reasoning does not end."""
    text = text.rpartition(_FINAL)[2]
    tags = written_block(text)
    if tags is None:
        return text
    _, closed, after = text.rpartition(tags[1])
    return after if closed else text.partition(tags[0])[0]


def verdict(text: str, rubric: Rubric, criteria: Sequence[Criterion]) -> dict[str, Any] | None:
    """The verdict in a judge's reply; None where there is none of the rubric's form, or several that differ. A closed
    block of thinking before it is not looked at."""
    return agreed(text, lambda one: _read(one, rubric, criteria))


def no_verdict(text: str) -> str:
    """What is said of a reply without a verdict."""
    return f"no verdict of the rubric's form in the reply: {text[:80]!r}"


def agreed(text: str, read: Callable[[dict[str, Any]], T | None]) -> T | None:
    """What `read` makes of the verdict in a reply; None where there is none, or several that differ."""
    found = list(verdicts_in(visible(text), read))
    return found[0] if found and all(one == found[0] for one in found) else None


def _read(found: Mapping[str, Any], rubric: Rubric, criteria: Sequence[Criterion]) -> dict[str, Any] | None:
    if rubric.kind == "score":
        score = _score(_value(found, "score"), rubric.scale)
        return None if score is None else {"score": score}
    if rubric.kind == "pairwise":
        better = _better(_value(found, "better"))
        return None if better is None else {"better": better}
    said = {one.name: truth(_value(found, one.name)) for one in criteria}
    return said if None not in said.values() else None


def _value(found: Mapping[str, Any], name: str) -> Any:
    """What an object holds under a name, or under the only key that is the same word written otherwise."""
    if name in found:
        return found[name]
    alike = [value for key, value in found.items() if _word(key) == _word(name)]
    return alike[0] if len(alike) == 1 else None


def _word(text: Any) -> str:
    return unicodedata.normalize("NFKC", str(text)).strip().casefold()


def _score(value: Any, scale: tuple[float, float]) -> float | None:
    """A number on the scale, also as `7/10` or `7 out of 10`, where 10 is the scale's end, and with a comma (`7,5`)."""
    if isinstance(value, str):
        if (parts := _OF.fullmatch(value)) and number(parts[2]) == scale[1]:
            value = parts[1]
        if _COMMA.fullmatch(value):
            value = value.replace(",", ".")
    score = number(value)
    return score if score is not None and scale[0] <= score <= scale[1] else None


def _better(value: Any) -> str | None:
    said = _REPLY.sub("", str(value).strip(" .!*\t\n").upper())
    return said if said in ("A", "B") else "TIE" if said in TIES else None


def verdicts_in(text: str, read: Callable[[dict[str, Any]], T | None]) -> Iterator[T]:
    """What `read` makes of the JSON objects in a reply, in order, without those that it makes nothing (None) of; these
    are searched for objects within."""
    begin = text.find("{")
    for _ in range(MOST_OBJECTS):
        if begin < 0:
            return
        try:
            found, end = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            found, end = _loose(text, begin)
        said = read(found) if isinstance(found, dict) else None
        if said is not None:
            yield said
        begin = text.find("{", begin + 1 if said is None else end)


def _loose(text: str, begin: int) -> tuple[Any, int]:
    """An object that is not quite JSON: with single quotation marks, `True`, or a comma after its last value."""
    chunk = _FLAT.match(text, begin, begin + LONGEST)
    try:
        return (literal(parsed(chunk[0])), chunk.end()) if chunk else (None, begin)
    except ERRORS:
        return None, begin


def truth(value: Any) -> bool | None:
    """A yes or no: true, false, 1, 0, or one of WORDS; None for anything else."""
    if isinstance(value, str):
        return WORDS.get(_word(value.strip(" .!*\t\n")))
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else None


def number(value: Any) -> float | None:
    """A number, also where it stands in quotation marks; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and "_" not in str(value) else None
