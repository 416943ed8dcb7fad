"""Numbers of each token, from vLLM's worker to the process that asks it: a file that both have in memory.

vLLM gives no hidden states while it samples, and asking its worker at every token would cost more than a small model's
step. So the worker writes what the rules need behind what is there (which request, which token, its number), and the
asking process reads on after each of the engine's steps. The file is a ring: a record is read long before it is
written over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

REQUEST = "tools_prune"
"""Key of a vLLM request's `extra_args`: its number in the records."""
CAPACITY = 1 << 18
"""Records in the ring: more than the requests of one step by far."""
FIELDS = [("request", "<i8"), ("token", "<i8"), ("score", "<f8"), ("confidence", "<f8")]


class Numbers:
    """Both ends of the ring in the file `path`, which the reading one makes. Record 0's `request` counts the records
    that have been written."""

    def __init__(self, path: Path, make: bool = False) -> None:
        import numpy as np

        ring: Any = np.memmap(path, dtype=np.dtype(FIELDS), mode="w+" if make else "r+", shape=(CAPACITY + 1,))
        # Plain views: a memmap makes an object of its own at every access.
        plain = ring.view(np.ndarray)
        self._ring, self._np = ring, np
        self._count: Any = plain["request"][:1]
        self._columns: list[Any] = [plain[name][1:] for name, _ in FIELDS]
        self._n_read = 0

    def write(self, requests: Sequence[int], tokens: Sequence[int], scores: object, confidences: object) -> None:
        """One record a request: the score of the state that token number `tokens` left (-1: the prompt's last), and the
        confidence of the token after it."""
        n_written = int(self._count[0])
        n, start = len(requests), n_written % CAPACITY
        at: Any = slice(start, start + n) if start + n <= CAPACITY else (n_written + self._np.arange(n)) % CAPACITY
        for column, values in zip(self._columns, (requests, tokens, scores, confidences), strict=True):
            column[at] = values
        self._count[0] = n_written + n

    def read(self) -> Iterator[tuple[int, int, float, float]]:
        """What has been written since it was read last."""
        n_written = int(self._count[0])
        if n_written == self._n_read:
            return
        at: Any = self._np.arange(self._n_read, n_written) % CAPACITY
        self._n_read = n_written
        yield from zip(*(column[at].tolist() for column in self._columns), strict=True)
