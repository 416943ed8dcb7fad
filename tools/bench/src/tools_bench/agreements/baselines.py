"""Raters that read nothing: a judge that is no better than these has learned nothing from what it judges."""

from __future__ import annotations

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
