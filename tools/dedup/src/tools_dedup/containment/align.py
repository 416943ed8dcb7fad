"""The words of one text that stand in another in the same order, as runs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

SEED = 3
_MOST_PLACES = 16
_MOST_RUNS = 300
_FAR_RUN = 6
_GAP = 24


@dataclass(frozen=True, slots=True)
class Run:
    """`size` words from `first` in the one text are those from `second` in the other."""

    first: int
    second: int
    size: int


def aligned(wanted: Sequence[str], there: Sequence[str]) -> list[Run]:
    """The runs by which most of `wanted` occurs in `there` in order, ascending in both.

    Runs of three words or more are chained; a run far from the one before (farther than `wanted` is long) must have
    six.
    Between two runs of the chain, single words that stand in both gaps in order count too. A text of fewer than three
    words must stand there whole.
    """
    seed = min(SEED, len(wanted))
    chain = _chain(_runs(wanted, there, seed), len(wanted)) if seed else []
    return _filled(chain, wanted, there) if chain else []


def _runs(wanted: Sequence[str], there: Sequence[str], seed: int) -> list[Run]:
    """The longest runs of at least `seed` words; linear but for words that both repeat."""
    places: dict[tuple[str, ...], list[int]] = {}
    for i in range(len(wanted) - seed + 1):
        places.setdefault(tuple(wanted[i : i + seed]), []).append(i)
    found, done = [], {}
    for j in range(len(there) - seed + 1):
        for i in places.get(tuple(there[j : j + seed]), ())[:_MOST_PLACES]:
            if done.get(j - i, -1) > j:
                continue
            size = seed
            while i + size < len(wanted) and j + size < len(there) and wanted[i + size] == there[j + size]:
                size += 1
            done[j - i] = j + size - seed + 1
            found.append(Run(i, j, size))
    return sorted(found, key=lambda run: -run.size)[:_MOST_RUNS]


def _chain(runs: list[Run], length: int) -> list[Run]:
    """The ascending runs that cover most words of the first text; a run may lose its head to the one before."""
    runs = sorted(runs, key=lambda run: (run.first, run.second))
    best: list[tuple[int, int]] = []
    for n, run in enumerate(runs):
        mine = (run.size, -1)
        for m in range(n):
            gain = _gain(runs[m], run, length)
            if gain and best[m][0] + gain > mine[0]:
                mine = (best[m][0] + gain, m)
        best.append(mine)
    if not best:
        return []
    at = max(range(len(best)), key=lambda n: (best[n][0], -n))
    chain = []
    while at >= 0:
        before = best[at][1]
        cut = runs[at].size - _gain(runs[before], runs[at], length) if before >= 0 else 0
        chain.append(Run(runs[at].first + cut, runs[at].second + cut, runs[at].size - cut))
        at = before
    return chain[::-1]


def _gain(before: Run, run: Run, length: int) -> int:
    """Words that `run` adds behind `before`; 0 where it may not follow."""
    cut = max(0, before.first + before.size - run.first, before.second + before.size - run.second)
    left = run.size - cut
    far = run.second + cut - before.second - before.size > max(length, _GAP)
    return left if left > 0 and (not far or min(run.size, before.size) >= _FAR_RUN) else 0


def _filled(chain: list[Run], wanted: Sequence[str], there: Sequence[str]) -> list[Run]:
    """The chain with the single words between its runs, before its first and after its last."""
    first = chain[0]
    before = (max(0, first.first - _GAP), max(0, first.second - _GAP))
    result = _common(wanted, there, before, (first.first, first.second))
    for run, following in zip(chain, [*chain[1:], None], strict=True):
        result.append(run)
        start = (run.first + run.size, run.second + run.size)
        stop = (following.first, following.second) if following else tuple(s + _GAP for s in start)
        if stop[0] - start[0] <= 2 * _GAP:
            if stop[1] - start[1] > 4 * _GAP:
                stop = (stop[0], start[1] + 2 * _GAP)
            result += _common(wanted, there, start, stop)
    return result


def _common(wanted: Sequence[str], there: Sequence[str], start: tuple[int, int], stop: tuple[int, int]) -> list[Run]:
    """The longest common subsequence of the two parts, as runs of one word (Hunt and Szymanski, CACM 20(5), 1977)."""
    places: dict[str, list[int]] = {}
    for j in range(start[1], min(stop[1], len(there))):
        places.setdefault(there[j], []).append(j)
    ends: list[int] = []
    links: list[tuple] = []
    for i in range(start[0], min(stop[0], len(wanted))):
        for j in reversed(places.get(wanted[i], ())):
            at = bisect_left(ends, j)
            link = (i, j, links[at - 1] if at else None)
            if at == len(ends):
                ends.append(j)
                links.append(link)
            else:
                ends[at], links[at] = j, link
    found, link = [], links[-1] if links else None
    while link:
        found.append(Run(link[0], link[1], 1))
        link = link[2]
    return found[::-1]
