"""The verdict in a judge's reply."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from tools_shared.judging.rubric import Criterion, Rubric

T = TypeVar("T")

WORDS = {"true": True, "yes": True, "false": False, "no": False}
"""Words in quotation marks that judges write for JSON's true and false."""
MOST_OBJECTS = 200
"""So many braces of a reply are tried as the beginning of a verdict."""
_THINK_END = "</think>"
_DECODER = json.JSONDecoder()


def visible(text: str) -> str:
    """What a reader sees: without a closed block of thinking before it."""
    before, end, after = text.partition(_THINK_END)
    return after if end else before


def verdict(text: str, rubric: Rubric, criteria: Sequence[Criterion]) -> dict[str, Any] | None:
    """The verdict in a judge's reply; None where there is none of the rubric's form, or several that differ. A closed
    block of thinking before it is not looked at."""
    return agreed(text, lambda one: _read(one, rubric, criteria))


def agreed(text: str, read: Callable[[dict[str, Any]], T | None]) -> T | None:
    """What `read` makes of the verdict in a reply; None where there is none, or several that differ."""
    found = list(verdicts_in(visible(text), read))
    return found[0] if found and all(one == found[0] for one in found) else None


def _read(found: Mapping[str, Any], rubric: Rubric, criteria: Sequence[Criterion]) -> dict[str, Any] | None:
    if rubric.kind == "score":
        score = number(found.get("score"))
        return {"score": score} if score is not None and rubric.scale[0] <= score <= rubric.scale[1] else None
    if rubric.kind == "pairwise":
        better = str(found.get("better", "")).strip().upper()
        return {"better": better} if better in ("A", "B", "TIE") else None
    said = {one.name: truth(found.get(one.name)) for one in criteria}
    return said if None not in said.values() else None


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
            found, end = None, begin
        said = read(found) if isinstance(found, dict) else None
        if said is not None:
            yield said
        begin = text.find("{", begin + 1 if said is None else end)


def truth(value: Any) -> bool | None:
    """A yes or no: true, false, or one of WORDS; None for anything else."""
    return value if isinstance(value, bool) else WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A number, also where it stands in quotation marks; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
