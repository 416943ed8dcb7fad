"""A completion, graded: what each problem came to, and the rates of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools_shared.answers import Status, judge
from tools_shared.engines import (
    Completion,
)
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_shared.runs.card import show_metric
from tools_shared.stats import wilson

RATES = {
    "accuracy": "correct",
    "accuracy_lenient": "lenient_correct",
    "thinking_proportion": "has_thinking",
    "answer_proportion": "has_answer",
    "truncated_proportion": "truncated",
}


@dataclass(frozen=True)
class Graded:
    """One test problem with the model's completion, taken apart and graded."""

    problem: Problem
    completion: Completion
    thinking: str | None
    answer: str | None
    verdict: str
    method: str
    well_formed: bool
    lenient_answer: str | None
    lenient_correct: bool

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"

    @property
    def gold_invalid(self) -> bool:
        return self.verdict == Status.GOLD_INVALID

    @property
    def has_thinking(self) -> bool:
        return bool(self.thinking)

    @property
    def has_answer(self) -> bool:
        return self.answer is not None

    @property
    def truncated(self) -> bool:
        return self.completion.finish_reason == "length"

    def row(self) -> dict[str, Any]:
        """The row of the per-example CSV."""
        return {
            "question": self.problem.question,
            "labeled_cot": self.problem.reasoning,
            "labeled_answer": self.problem.answer,
            "generated_text": self.completion.text,
            "extracted_thinking": self.thinking,
            "extracted_answer": self.answer,
            "correct": self.correct,
            "id": self.problem.id,
            "verdict": self.verdict,
            "method": self.method,
            "lenient_answer": self.lenient_answer,
            "lenient_correct": self.lenient_correct,
            "well_formed": self.well_formed,
            "finish_reason": self.completion.finish_reason,
            "n_tokens": self.completion.n_tokens,
        }


def grade(problem: Problem, prompt: Prompt, completion: Completion, profile: Profile) -> Graded:
    """Take a completion apart and compare its answer with the gold one, strictly and leniently."""
    judged = judge(
        completion.text,
        problem.answer,
        profile,
        opened=opened(prompt, completion, profile),
        truncated=completion.finish_reason == "length",
    )
    verdict = judged.strict_verdict
    return Graded(
        problem=problem,
        completion=completion,
        thinking=judged.thinking,
        answer=judged.strict.answer,
        verdict="gold_invalid" if judged.gold_invalid else verdict.status if verdict else "no_answer",
        method=verdict.method if verdict else judged.strict.method,
        well_formed=judged.well_formed,
        lenient_answer=judged.lenient.answer,
        lenient_correct=judged.lenient_correct,
    )


def opened(prompt: Prompt, completion: Completion, profile: Profile) -> bool:
    """Whether the prompt wrote the opening thinking tag. One without tokens was rendered by a server."""
    return prompt.opens_thinking or (not prompt.token_ids and profile.closes_unopened(completion.text))


def rates(graded: Sequence[Graded]) -> dict[str, Any]:
    """Each rate with its interval and n; and the mean length of a completion in tokens.

    A problem whose gold answer cannot be read is out of the accuracies. Raises ToolError when no gold answer can.
    """
    judged = [g for g in graded if not g.gold_invalid]
    if not judged:
        raise ToolError("no gold answer of the test problems can be read; fix them, or pass --answer-key")
    metrics: dict[str, Any] = {}
    for name, attribute in RATES.items():
        counted = judged if name.startswith("accuracy") else graded
        n = len(counted)
        interval = wilson(sum(getattr(g, attribute) for g in counted), n)
        metrics[name] = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "n": n}
    lengths = [g.completion.n_tokens for g in graded if g.completion.n_tokens is not None]
    if lengths:  # servers may not tell
        metrics["mean_tokens"] = sum(lengths) / len(lengths)
    return metrics


def describe(metrics: dict[str, Any]) -> str:
    """The rates as lines of text."""
    return "\n".join(f"{name:>21}  {show_metric(value)}" for name, value in metrics.items())
