"""Raters that read nothing: a judge that is no better than these has learned nothing from what it judges."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class LengthRule:
    """Yes for replies of at least `least` characters, or for shorter ones (`longer` False)."""

    least: int
    longer: bool

    def __call__(self, length: int) -> bool:
        return (length >= self.least) == self.longer

    def __str__(self) -> str:
        return f"yes {'from' if self.longer else 'below'} {self.least} characters"


def majority(labels: Sequence[bool]) -> bool:
    """The more frequent label; yes where both are as frequent."""
    return 2 * sum(labels) >= len(labels)


def best_length(labels: Sequence[bool], lengths: Sequence[int]) -> LengthRule:
    """The rule with the highest balanced accuracy on these labels; of equal ones that with the lowest limit."""
    n_yes = sum(labels)
    n_no = len(labels) - n_yes
    best, rule = -1.0, LengthRule(0, majority(labels))
    if not n_yes or not n_no:
        return rule
    pairs = sorted(zip(lengths, labels, strict=True))
    below = [0, 0]  # no and yes among the shorter ones
    i = 0
    while i < len(pairs):
        share = ((n_yes - below[1]) / n_yes + below[0] / n_no) / 2
        for value, longer in ((share, True), (1 - share, False)):
            if value > best + 1e-12:
                best, rule = value, LengthRule(pairs[i][0], longer)
        length = pairs[i][0]
        while i < len(pairs) and pairs[i][0] == length:
            below[pairs[i][1]] += 1
            i += 1
    return rule


def best_threshold(labels: Sequence[bool], values: Sequence[float]) -> float:
    """The least value that is a yes, so that balanced accuracy on these labels (both occur) is highest: the middle
    between two values, of equal ones the lowest."""
    import numpy as np

    order = np.argsort(np.asarray(values, dtype=np.float64), kind="stable")
    value, yes = np.asarray(values, dtype=np.float64)[order], np.asarray(labels, dtype=np.float64)[order]
    yes_below = np.concatenate([[0.0], np.cumsum(yes)[:-1]])
    no_below = np.arange(len(yes)) - yes_below
    share = (1 - yes_below / yes.sum() + no_below / (len(yes) - yes.sum())) / 2
    starts = np.concatenate([[True], value[1:] != value[:-1]])
    best = int(np.argmax(np.where(starts, share, -1.0)))
    return float(value[best] if best == 0 else (value[best - 1] + value[best]) / 2)


def by_the_other_half(
    labels: Sequence[bool], values: Sequence[float], groups: Sequence[str]
) -> tuple[list[bool], tuple[float, float]] | None:
    """A yes where the value reaches the threshold that is best on the other half of the groups, which are halved by
    their hashes, and the two thresholds; None where a half lacks one of the labels."""
    half = [hashlib.sha256(group.encode("utf-8", "replace")).digest()[0] % 2 for group in groups]
    limits = []
    for mine in (0, 1):
        other = [(label, value) for label, value, h in zip(labels, values, half, strict=True) if h != mine]
        if len({label for label, _ in other}) < 2:
            return None
        limits.append(best_threshold([label for label, _ in other], [value for _, value in other]))
    said = [value >= limits[h] for value, h in zip(values, half, strict=True)]
    return said, (limits[0], limits[1])
