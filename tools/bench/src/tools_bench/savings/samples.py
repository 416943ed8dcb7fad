"""The samples of a run by question, with what the rules need to be replayed over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_bench.grading.votes import FILE
from tools_shared.answers import Status
from tools_shared.answers.voting import number_answers
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files.journal import parse_lines

ATTEMPTS = "attempts.jsonl"
"""The samples of a run of `tools-traces`: all attempts, in the order in which they were done."""
BY_REWARD = ("accepted", "declined", "unjudged")
"""Verdicts of `tools-traces --accept`, which say nothing of answers."""


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


def samples_file(run: Path) -> Path:
    """The run's samples, of `tools-bench evaluate` or of `tools-traces`; raises ToolError where it has none."""
    found = next((run / name for name in (FILE, ATTEMPTS) if (run / name).is_file()), None)
    if found is None:
        raise ToolError(
            f"{run}: no {FILE} and no {ATTEMPTS}; name a run of tools-bench evaluate --samples K, or of tools-traces "
            "--keep all --max-attempts K"
        )
    return found


def read_samples(run: Path) -> list[list[WholeTrace]]:
    """Each question's samples, in the order of their numbers; says how many questions it leaves out because their gold
    answers cannot be read.

    Raises ToolError for a run without samples, or with other numbers of them for different questions, and for one in
    which a rule stopped some: what they would have become is not known.
    """
    path = samples_file(run)
    with path.open(
        encoding="utf-8"
    ) as file:  # not splitlines: a response may hold separators that JSON does not escape
        found = parse_lines(file, path, lambda row: {**row}, "a sample")
        rows = [_checked(row, f"{path}:{number}") for number, row in enumerate(found, start=1)]
    questions: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        mine = questions.setdefault(row["id"], {})
        mine[row.get("sample", len(mine))] = row  # a journal's last line for an attempt counts
    readable = [mine for mine in questions.values() if not any(map(_has_invalid_gold, mine.values()))]
    if len(readable) < len(questions):
        say(f"{path}: left out {len(questions) - len(readable)} of {len(questions)} questions: invalid gold answers")
    if len({len(mine) for mine in readable}) > 1 or len(readable) < 2:
        raise ToolError(f"{path}: needs two questions or more with equally many samples each{_how_many(path)}")
    return [_question([mine[number] for number in sorted(mine)]) for mine in readable]


def _checked(row: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """The row, if its trace is whole and was graded by its answer; those of `tools-traces` have other names."""
    if row.get("pruned"):
        raise ToolError(
            f"{place}: stopped by {row['pruned']['rule']}; sample with rules that stop nothing, such as "
            "--prune 'step:SCORER<0' --prune 'confidence:16<0'"
        )
    if row.get("verdict") in BY_REWARD:
        raise ToolError(f"{place}: graded by the reward of --accept; sample without it, so that answers are graded")
    if "sample" in row:
        row = {**row, "extracted_answer": row.get("answer"), "is_correct": row.get("verdict") == "correct"}
    if not row.get("n_tokens"):
        raise ToolError(f"{place}: no 'n_tokens'; sample again, an engine of this machine counts them")
    if missing := {"id", "extracted_answer", "is_correct"} - row.keys():
        raise ToolError(f"{place}: no {min(missing)!r}; it is not a graded sample")
    return row


def _has_invalid_gold(row: Mapping[str, Any]) -> bool:
    return row.get("verdict") == Status.GOLD_INVALID


def _how_many(path: Path) -> str:
    return "; sample with --keep all, which makes every attempt" if path.name == ATTEMPTS else ""


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
