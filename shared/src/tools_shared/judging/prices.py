"""What requests cost."""

from __future__ import annotations

from dataclasses import dataclass

BYTES_PER_TOKEN = 3
"""Where a server counts no tokens, and before it has: a token has at least this many bytes."""


@dataclass(frozen=True)
class Prices:
    """Money for a million tokens in and out, and how much may be spent (None: no limit)."""

    tokens_in: float = 0.0
    tokens_out: float = 0.0
    budget: float | None = None

    def of(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6
