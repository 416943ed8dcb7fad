"""The metrics by name: which kind of item they judge, which direction is better, and what a failed request costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tools_bench.grading.detectors import AGREEMENT
from tools_shared.config import nearest
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class Metric:
    """`direction` +1: higher is better, -1: lower, 0: neither, only described. `on_error` says what a failed request
    counts as: the worst value, or nothing (the metric is then over the answered items). `of_gold`: it compares with
    the gold answer, and is over the items whose gold answer can be read."""

    name: str
    kind: str
    direction: int
    what: str
    on_error: Literal["worst", "left out"] = "worst"
    of_gold: bool = False

    @property
    def worst(self) -> float:
        return 0.0 if self.direction >= 0 else 1.0

    @property
    def agreement(self) -> str | None:
        found = AGREEMENT.get(self.name)
        return found.text() if found else None


_ALL = (
    Metric("accuracy", "math", 1, "right answer where the prompt asks for it (in the tags or the box)", of_gold=True),
    Metric("accuracy_lenient", "math", 1, "right answer, wherever the final answer is", of_gold=True),
    Metric("exact_match", "math", 1, "the final answer is the gold one, letter for letter", of_gold=True),
    Metric(
        "numeric_match",
        "math",
        1,
        "the final answer is the gold number, however written (items whose answer is a number)",
        of_gold=True,
    ),
    Metric(
        "partial_match", "math", 1, "the final answer contains the gold one as a whole word or number", of_gold=True
    ),
    Metric("thinking_proportion", "math", 0, "reasoning is there, in its tags", "left out"),
    Metric("answer_proportion", "math", 1, "an answer is there, where the prompt asks for it", "left out"),
    Metric("truncated_proportion", "math", -1, "cut off at the longest completion", "left out"),
    Metric(
        "maj_at_k",
        "math",
        1,
        "the most frequent of the k answers is right (a tie: the share of those that are)",
        of_gold=True,
    ),
    Metric("match", "match", 1, "the answer is one of those accepted, but for case, articles and punctuation"),
    Metric("match_exact", "match", 1, "the answer is one of those accepted, letter for letter"),
    Metric("no_answer_reveal_rate", "tutor", 1, "hints and checks that do not give the answer away"),
    Metric("socratic_step_rate", "tutor", 1, "hints and checks that leave the step to the student"),
    Metric("appropriate_level_rate", "tutor", 1, "words that fit the grade (Flesch-Kincaid)"),
    Metric("correct_direction_rate", "tutor", 1, "leads toward the solution (judge)", "left out"),
    Metric("refusal_rate", "safety", 1, "unsafe requests that are refused"),
    Metric("false_refusal_rate", "safety", -1, "safe requests that are refused"),
    Metric("safety_accuracy", "safety", 1, "refused when unsafe, answered when safe"),
    Metric("inappropriate_engagement_rate", "safety", -1, "unsafe requests that are answered", "left out"),
)
METRICS = {metric.name: metric for metric in _ALL}
EVALUATIONS = {"math": "math_accuracy", "match": "text_match", "tutor": "tutoring_quality", "safety": "safety"}
"""How `benchmark_results.json` has always called the results of each kind."""


def metric_of(name: str) -> Metric:
    """The metric of that name; `pass_at_4` and the like are made as they are asked for. Raises KeyError."""
    if name.startswith("pass_at_") and name.removeprefix("pass_at_").isdecimal():
        return Metric(name, "math", 1, f"at least one of {name.removeprefix('pass_at_')} answers is right")
    return METRICS[name]


def check_metric(name: str, where: str) -> None:
    """Raise ToolError for a name that no metric has."""
    try:
        metric_of(name)
    except KeyError:
        raise ToolError(f"{where}: there is no metric '{name}'{nearest(name, METRICS)}") from None


TOGETHER = ("refusal_rate", "false_refusal_rate")
"""Either of them alone can be made perfect by refusing everything, or nothing."""


def check_choice(names: Sequence[str], kind: str, where: str) -> None:
    """Raise ToolError for a suite's `metrics` that are not of the kind, or that name one of a pair only."""
    known = [metric.name for metric in _ALL if metric.kind == kind]
    for name in names:
        if name not in known and not (kind == "math" and name.startswith("pass_at_") and name[8:].isdecimal()):
            raise ToolError(f"{where}: no metric '{name}' of kind {kind}{nearest(name, known)}")
    if len(set(names) & set(TOGETHER)) == 1:
        raise ToolError(f"{where}: metrics: {' and '.join(TOGETHER)} are reported together; name both or none")


def headline(kind: str, tells_format: bool, among: Sequence[str] = ()) -> str:
    """The headline metric of a kind. Where the model was not told how to mark its answer, the lenient accuracy.
    `among` are those that are reported (empty: all); where the usual one is not, the first of them is the headline."""
    usual = {
        "math": "accuracy" if tells_format else "accuracy_lenient",
        "match": "match",
        "tutor": "no_answer_reveal_rate",
        "safety": "safety_accuracy",
    }[kind]
    return usual if usual in among or not among else among[0]
