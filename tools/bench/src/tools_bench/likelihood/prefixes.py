"""Which contexts are read together: those that begin with the same tokens (a subject's examples, an instruction), whose
beginning is then read once, and all others by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tools_shared.engines.local.prefill import MIN_SHARED, Ids

FEWEST = 4
"""Contexts that have to share a beginning before it is read by itself."""

Group = tuple[int, list[int]]
"""How many tokens are shared, and the places of the contexts."""


def by_beginning(contexts: Sequence[Ids]) -> list[Group]:
    """Groups of contexts that share a beginning of MIN_SHARED tokens or more, then one of all others, which share 0.

    At least one token of each context is left behind the beginning. A context that shares less than half of what its
    neighbours share is no reason to read that much less of theirs: it begins another group.
    """
    order = sorted(range(len(contexts)), key=contexts.__getitem__)
    groups: list[Group] = []
    alone: list[int] = []
    for shared, places in _runs(contexts, order):
        if len(places) >= FEWEST:
            groups.append((shared, places))
        else:
            alone += places
    return [*groups, (0, alone)] if alone else groups


def _runs(contexts: Sequence[Ids], order: Sequence[int]) -> Iterator[Group]:
    """Neighbours in the order of words, cut where what they share gets short."""
    run: list[int] = []
    shared = 0
    for place in order:
        found = common(contexts[run[-1]], contexts[place]) if run else 0
        found = min(found, len(contexts[run[-1]]) - 1, len(contexts[place]) - 1) if run else 0
        if found >= MIN_SHARED and 2 * found >= shared:
            shared = found if len(run) == 1 else min(shared, found)
            run.append(place)
            continue
        if run:
            yield shared, run
        run, shared = [place], 0
    if run:
        yield shared, run


def common(a: Ids, b: Ids) -> int:
    """How many tokens two texts begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
