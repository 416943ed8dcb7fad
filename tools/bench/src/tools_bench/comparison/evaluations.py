"""Evaluations of the same test problems side by side: rates with intervals, differences paired by question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.answers import Status
from tools_shared.errors import ToolError
from tools_shared.evaluation import read_csv
from tools_shared.runs import check_unchanged, read_manifest
from tools_shared.stats import Interval, PairedDifference, holm, paired_difference, wilson

METRICS = {"accuracy": "correct", "accuracy_lenient": "lenient_correct"}
"""What is compared: a metric's name, and its column in the per-example CSV."""


@dataclass(frozen=True)
class ScoredRun:
    """One run's per-example results: for each metric, whether each question (by id) was right. A question whose gold
    answer cannot be read is in `questions` only."""

    name: str
    path: Path
    questions: dict[str, tuple[str, str]]
    right: dict[str, dict[str, bool]]
    run_sha256: str | None


@dataclass(frozen=True)
class Line:
    """One run in the comparison: its rates, and its differences from the baseline (None for the baseline itself).

    `p_holm` are McNemar p-values adjusted over all runs and metrics of the comparison.
    """

    name: str
    rates: dict[str, Interval]
    differences: dict[str, PairedDifference] | None
    p_holm: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """All runs in the order they were given, on `n` questions."""

    baseline: str
    n: int
    confidence: float
    lines: list[Line]

    def to_json(self) -> dict[str, Any]:
        return {
            "baseline": self.baseline,
            "n": self.n,
            "confidence": self.confidence,
            "runs": [_line_json(line) for line in self.lines],
        }


def _line_json(line: Line) -> dict[str, Any]:
    result: dict[str, Any] = {"name": line.name}
    for metric, rate in line.rates.items():
        result[metric] = {"estimate": rate.estimate, "low": rate.low, "high": rate.high, "n": rate.n}
    for metric, d in (line.differences or {}).items():
        result[f"{metric}_difference"] = {
            "difference": d.difference,
            "low": d.low,
            "high": d.high,
            "n": d.n,
            "only_here": d.b_only,
            "only_baseline": d.a_only,
            "p_mcnemar": d.p_value,
            "p_holm": line.p_holm[metric],
            "minimum_detectable": d.mde,
        }
    return result


def read_scored(given: str) -> ScoredRun:
    """A run directory's final per-example CSV, or such a file itself; raises ToolError when there is none."""
    path = Path(given)
    sha256 = None
    name = path.stem
    if path.is_dir() or not path.suffix:
        manifest = read_manifest(path)
        name, sha256 = path.resolve().name, manifest.sha256
        path = path / "debug" / f"{manifest.kind}_{manifest.data['run_id']}.csv"
        if not path.exists():
            raise ToolError(
                f"{given}: this {manifest.kind} run was not evaluated (no {path.name}); run tools-bench evaluate"
            )
    check_unchanged(path)
    rows = read_csv(path)
    questions = {row["id"]: (row["question"], row["labeled_answer"]) for row in rows}
    if len(questions) < len(rows):
        raise ToolError(f"{path}: ids are not unique; evaluate again with this version")
    judged = [row for row in rows if row.get("verdict") != Status.GOLD_INVALID]
    right = {metric: {row["id"]: row[column] == "True" for row in judged} for metric, column in METRICS.items()}
    return ScoredRun(name, path, questions, right, sha256)


def compare(scored: Sequence[ScoredRun], baseline: str | None = None, confidence: float = 0.95) -> Comparison:
    """Rates of each run and paired differences from the baseline.

    Raises ToolError when there are fewer than two runs, names repeat, or the questions are not the same in all.
    """
    if len(scored) < 2:
        raise ToolError(f"a comparison needs at least two runs, got {len(scored)}")
    names = [one.name for one in scored]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ToolError(f"two runs are called '{twice}'; give their per-example CSV files, or rename a folder")
    base = _baseline(scored, baseline)
    for one in scored:
        refuse_other_questions(base, one)
    ids = _judged_by_all(scored)
    differences = {
        one.name: {
            metric: paired_difference(
                [base.right[metric][i] for i in ids], [one.right[metric][i] for i in ids], confidence=confidence
            )
            for metric in METRICS
        }
        for one in scored
        if one is not base
    }
    keys = [(name, metric) for name, by_metric in differences.items() for metric in by_metric]
    adjusted = dict(zip(keys, holm([differences[n][m].p_value for n, m in keys]), strict=True))
    lines = [
        Line(
            one.name,
            {m: wilson(sum(one.right[m][i] for i in ids), len(ids), confidence) for m in METRICS},
            differences.get(one.name),
            {m: float(adjusted[one.name, m]) for m in METRICS if (one.name, m) in adjusted},
        )
        for one in scored
    ]
    return Comparison(base.name, len(ids), confidence, lines)


def _judged_by_all(scored: Sequence[ScoredRun]) -> list[str]:
    """The questions with a verdict in every run; raises ToolError when there is none."""
    ids = sorted(set.intersection(*(set(one.right["accuracy"]) for one in scored)))
    if not ids:
        raise ToolError(f"{scored[0].path}: no gold answer can be read; evaluate on other data")
    return ids


def _baseline(scored: Sequence[ScoredRun], wanted: str | None) -> ScoredRun:
    if wanted is None:
        return scored[0]
    name = Path(wanted).name
    found = next((one for one in scored if name in (one.name, one.path.name)), None)
    if found is None:
        raise ToolError(f"--baseline {wanted}: not among the runs ({', '.join(one.name for one in scored)})")
    return found


def refuse_other_questions(base: ScoredRun, other: ScoredRun) -> None:
    """Raise ToolError when two evaluations are not of the same questions."""
    if base.questions == other.questions:
        return
    missing = [i for i in base.questions if other.questions.get(i) != base.questions[i]]
    raise ToolError(
        f"{other.path}: not the same test as {base.path}: {len(base.questions)} questions there, "
        f"{len(other.questions)} here, {len(missing)} of those there missing or changed; evaluate both on the same data"
    )
