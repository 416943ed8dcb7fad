"""The traces that an evaluation looks at, with everything that is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tools_scorer.states.folder import Hidden
from tools_shared.answers.voting import number_answers
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import Scorer, TraceScore, summarize
from tools_shared.states.shards import TraceInfo

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class JudgedTrace:
    """One labelled trace: its steps' probabilities and where they end (tokens of the response up to there).

    `answer` numbers the answers of a question that are equal; None for a trace without an answer.
    """

    info: TraceInfo
    ends: tuple[int, ...]
    steps: tuple[float, ...]
    score: TraceScore
    answer: int | None = None

    @property
    def right(self) -> bool:
        return bool(self.info.is_correct)

    @property
    def n_tokens(self) -> int:
        """Tokens of the response that were read."""
        return max(self.info.n_tokens, self.ends[-1])

    def mean_until(self, n_tokens: float) -> float | None:
        """The mean of the steps that end by then; None before the first."""
        seen = [p for p, end in zip(self.steps, self.ends, strict=True) if end <= n_tokens]
        return sum(seen) / len(seen) if seen else None


def judge(hidden: Hidden, scorer: Scorer, split: str, grouped: bool = True) -> list[JudgedTrace]:
    """Score the labelled traces of a split; answers of each question are `grouped` by the grader's equality.

    Raises ToolError naming the folder when the split holds none.
    """
    found = []
    for shard in hidden.shards:
        probabilities, bounds = scorer.probabilities(shard.states()), shard.row_pointers.tolist()
        positions = shard.positions.tolist()
        for i, info in enumerate(shard.traces()):
            rows = scorer.read_rows(bounds[i], bounds[i + 1])
            if rows.start == rows.stop or info.is_correct is None or split not in ("all", info.split):
                continue
            ends = tuple(position + 1 - info.prompt_len for position in positions[rows])
            steps = tuple(probabilities[rows])
            found.append(JudgedTrace(info, ends, steps, summarize(steps)))
    if not found:
        raise ToolError(
            f"{hidden.path}: no labelled trace in the {split} split; extract more, or choose another --split"
        )
    return [trace for group in by_question(found) for trace in (with_answers(group) if grouped else group)]


def by_question(traces: Sequence[JudgedTrace]) -> list[list[JudgedTrace]]:
    """The traces of each question, questions in order of first appearance."""
    groups: dict[str, list[JudgedTrace]] = {}
    for trace in traces:
        groups.setdefault(trace.info.question_id, []).append(trace)
    return list(groups.values())


def with_answers(traces: Sequence[JudgedTrace]) -> list[JudgedTrace]:
    """One question's traces with their answers numbered."""
    numbers = number_answers([trace.info.extracted_answer for trace in traces])
    return [replace(trace, answer=number) for trace, number in zip(traces, numbers, strict=True)]


@dataclass(frozen=True)
class Columns:
    """The traces as arrays [n]: labels and question numbers; `groups` are names."""

    labels: np.ndarray
    questions: np.ndarray
    groups: list[str]


def columns(traces: Sequence[JudgedTrace]) -> Columns:
    import numpy as np

    numbers: dict[str, int] = {}
    questions = [numbers.setdefault(t.info.question_id, len(numbers)) for t in traces]
    labels = np.array([t.right for t in traces], dtype=np.float64)
    return Columns(labels, np.array(questions), [t.info.group for t in traces])
