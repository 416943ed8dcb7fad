"""What judging has cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Spent:
    """What judging has cost so far: `n_asked` requests that were answered by the judge (`n_cached` more were known
    already), of them `n_failed` without a verdict; tokens as the server counted them, and money."""

    n_asked: int = 0
    n_cached: int = 0
    n_failed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0

    def add(self, more: Spent) -> None:
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)

    def minus(self, before: Spent) -> dict[str, float]:
        return {name: getattr(self, name) - getattr(before, name) for name in vars(self)}
