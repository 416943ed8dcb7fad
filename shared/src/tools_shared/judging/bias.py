"""What a judge goes by beside what it was asked: length, place, repetition, the rubric's own words; and how often it
contradicts itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 8
"""Fewest pairs of values that a correlation is given for."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation with its 95 % interval (Fisher's z; standard error of Bonett and Wright 2000)."""

    rho: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.rho:+.2f} [{self.low:+.2f}, {self.high:+.2f}], n={self.n}"


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Correlation | None:
    """None for fewer than FEWEST pairs, and where one of the two is the same throughout."""
    n = len(first)
    if n < FEWEST or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    a, b = _ranks(first), _ranks(second)
    mean = (n + 1) / 2
    products = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    squares = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    rho = max(-1.0, min(1.0, products / math.sqrt(squares)))
    z = math.atanh(max(-0.999999, min(0.999999, rho)))
    wide = 1.96 * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return Correlation(rho, math.tanh(z - wide), math.tanh(z + wide), n)


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1; those that are equal share their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for i in order[start:end]:
            ranks[i] = (start + end + 1) / 2
        start = end
    return ranks


def repetition(text: str) -> float:
    """The share of a text's word trigrams that occurred before in it."""
    words = text.split()
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def copied(text: str, words: set[str], prompt: str = "") -> float:
    """The share of a text's words that are the rubric's and not the prompt's."""
    said = [word.strip(" .:;,-?!").lower() for word in text.split()]
    own = words - {word.strip(" .:;,-?!").lower() for word in prompt.split()}
    return sum(word in own for word in said) / len(said) if said else 0.0
