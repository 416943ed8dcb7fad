"""Sources with weights: how often the rows of each are learned in an epoch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tools_sft.data.encoding import Encoded
from tools_shared.errors import ToolError
from tools_shared.records import Conversation, Problem
from tools_shared.sources import Collected


def weighted(
    encoded: Encoded, read: Collected[Problem | Conversation], weights: Sequence[float], seed: int
) -> tuple[Encoded, list[str]]:
    """The examples of each row as often as its source's weight says, and a line about each source; without weights what
    is given. Of a weight of 2.5 the half is every second row, drawn by (seed, id) alone.

    Raises ToolError where no example is left.
    """
    if not weights:
        return encoded, []
    numbers = (number for number, source in enumerate(read.sources) for _ in range(source.n_used))
    source_of = {item.id: number for item, number in zip(read.items, numbers, strict=True)}
    rows: list[list[str]] = [[] for _ in weights]
    for name in dict.fromkeys(encoded.row_ids):
        rows[source_of[name]].append(name)
    times: Counter[str] = Counter()
    lines = []
    for source, names, weight in zip(read.sources, rows, weights, strict=True):
        whole, rest = divmod(weight, 1)
        drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode("utf-8", "replace")).digest())
        more = drawn[: round(rest * len(names))]
        times.update(dict.fromkeys(names, int(whole)))
        times.update(more)
        n = int(whole) * len(names) + len(more)
        lines.append(f"{source.spec}: {len(names)} rows, weight {weight:g}: {n} an epoch")
    pairs = zip(encoded.row_ids, encoded.examples, strict=True)
    copies = [(name, example) for name, example in pairs for _ in range(times[name])]
    if not copies:
        raise ToolError(f"--data-weight {' '.join(f'{w:g}' for w in weights)} leaves no row; raise one")
    return replace(encoded, examples=[e for _, e in copies], row_ids=[name for name, _ in copies]), lines
