"""The samples of an evaluated run, by question, with what the rules need to be replayed over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_bench.grading.votes import FILE
from tools_shared.answers.voting import number_answers
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class WholeTrace:
    """One whole trace: the number of its answer among its question's (None: none), whether that is right, its tokens,
    and its steps and lowest group confidences, each with the tokens up to there."""

    answer: int | None
    is_right: bool
    n_tokens: int
    steps: Sequence[tuple[int, float]]
    confidence: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Stop:
    """A trace that was stopped has no vote; `n_tokens` are those that it had."""

    n_tokens: int
    is_stopped: bool


def read_samples(run: Path) -> list[list[WholeTrace]]:
    """Each question's samples, in order. Raises ToolError for a run without, and for one in which a rule stopped some:
    what they would have become is not known."""
    path = run / FILE
    if not path.is_file():
        raise ToolError(f"{path}: no such file; name a run of tools-bench evaluate --samples K")
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        if "n_tokens" not in row or row["n_tokens"] is None:
            raise ToolError(f"{path}:{number}: no 'n_tokens'; evaluate again, an engine of this machine counts them")
        if row.get("pruned"):
            raise ToolError(
                f"{path}:{number}: stopped by {row['pruned']['rule']}; evaluate with rules that stop nothing, such as "
                "--prune 'step:SCORER<0' --prune 'confidence:16<0'"
            )
        rows.setdefault(row["id"], []).append(row)
    counts = {len(mine) for mine in rows.values()}
    if len(counts) > 1 or len(rows) < 2:
        raise ToolError(f"{path}: needs two questions or more with equally many samples each")
    return [_question(mine) for mine in rows.values()]


def _question(rows: Sequence[Mapping[str, Any]]) -> list[WholeTrace]:
    numbers = number_answers([row["extracted_answer"] for row in rows])
    return [
        WholeTrace(
            number,
            row["is_correct"],
            row["n_tokens"],
            [(end, value) for end, value in row.get("steps") or ()],
            [(end, value) for end, value in row.get("confidence") or ()],
        )
        for number, row in zip(numbers, rows, strict=True)
    ]
