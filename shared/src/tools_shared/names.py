"""Suggestions for a mistyped name in error messages."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` when one of `known` is near, else nothing."""
    match = _match(name, tuple(known), 0.6)
    return f" (did you mean '{match}'?)" if match else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """`nearest is "x"` where one is near, else the known names (at most 8)."""
    names = tuple(known)
    if match := _match(name, names, 0.7):
        return f'nearest is "{match}"'
    if not names:
        return "there is none"
    return f"there is {', '.join(n[:40] for n in names[:8])}{', ...' if len(names) > 8 else ''}"


@functools.lru_cache(maxsize=256)  # a column that is missing is missing in a million rows
def _match(name: str, names: tuple[str, ...], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, names[:200], n=1, cutoff=cutoff)), None)
