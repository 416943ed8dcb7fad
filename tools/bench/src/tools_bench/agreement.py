"""`tools-bench agreement`: a rubric's judge measured against people's labels, and the result kept with the judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_bench.agreements.measure import LabelAndVerdict, judged_by, measure
from tools_bench.agreements.table import as_markdown, as_text
from tools_bench.config import AgreementConfig
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import Incomplete, ToolError
from tools_shared.files import write_json, write_jsonl
from tools_shared.judging import Judge, Rubric, load_rubric
from tools_shared.judging.agreement import keep_agreement
from tools_shared.judging.judge import check_judge
from tools_shared.judging.labels import Labelled, LabelledRows, read_labelled
from tools_shared.judging.stated import StatedVerdict
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.sources.allowance import settle


def run_agreement(config: AgreementConfig, invocation: Invocation) -> Manifest:
    """Judge the labelled replies, print and write the table, and keep the agreement with the judge.

    Raises Incomplete where the judge could not be reached: a reply that never came says nothing about agreement.
    """
    rubric = _rubric(config.rubric, config.model)
    output_dir = Path(config.output_dir or default_output_dir("agreement"))
    if done := finished(output_dir, config):
        say((output_dir / "agreement.txt").read_text(encoding="utf-8"))
        return done
    read = read_labelled(config.data or "", rubric, config)
    settle("the labelled replies", read.n_read, read.rejected, [], config.max_rejected)
    train = read_labelled(config.train_data, rubric, config) if config.train_data else None
    with draft(output_dir, config, invocation, "agreement") as run:
        _note_inputs(run, config, rubric, read, train)
        judge = Judge(replace(rubric, judge=replace(rubric.judge, max_failed=1.0)))
        verdicts = judge.ask_stated([item.question for item in read.items])
        _check_answered(judge, rubric)
        criteria = _measure(rubric, read.items, verdicts, train)
        table = as_text(criteria)
        write_json(
            run.path / "agreement.json", {"rubric": rubric.name, "model": rubric.judge.model, "criteria": criteria}
        )
        (run.path / "agreement.txt").write_text(table, encoding="utf-8")
        (run.path / "agreement.md").write_text(as_markdown(criteria), encoding="utf-8")
        write_jsonl(run.path / "verdicts.jsonl", _rows(read.items, verdicts))
        say(_cost(judge))
        chosen = "on --train-data" if train else "on the same replies, which flatters them"
        say(f"{table}majority and length are chosen {chosen}")
        manifest = run.finish(_metrics(criteria))
    told = {"rubric": rubric.name, "model": rubric.judge.model, "data": config.data, "data_sha256": read.sha256}
    told |= {"measured": datetime.now(UTC).isoformat(timespec="seconds"), "criteria": _brief(criteria)}
    file = keep_agreement(rubric, Path(config.rubric), told)
    say(f"kept for use beside the judge's scores: {file}")
    return manifest


def _rubric(path: str, model: str | None) -> Rubric:
    """The rubric, with `model` as its judge where one is given."""
    rubric = load_rubric(Path(path))
    if model is not None:
        rubric = replace(rubric, judge=replace(rubric.judge, model=model, endpoint=None))
    check_judge(rubric)
    if rubric.row_criteria is not None:
        raise ToolError(f"{path}: row_criteria asks each row something else; give criteria, score or pairwise")
    return rubric


def _note_inputs(
    run: Draft, config: AgreementConfig, rubric: Rubric, read: LabelledRows, train: LabelledRows | None
) -> None:
    run.add_input("rubric", config.rubric, rubric.sha256)
    run.add_input("data", config.data or "", read.sha256, n_read=read.n_read, n_used=len(read.items))
    if train is not None:
        run.add_input("train", config.train_data or "", train.sha256, n_read=train.n_read, n_used=len(train.items))
    if rubric.judge.endpoint is None:
        from tools_shared.models import resolve, weights_sha256

        ref = resolve(rubric.judge.model or "")
        run.add_input("model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run and ref.run.sha256)
    run.reject(read.rejected)
    if train is not None and (both := {item.group for item in read.items} & {item.group for item in train.items}):
        say(f"warning: {len(both)} groups are in --data and in --train-data; the baselines have seen them")


def _check_answered(judge: Judge, rubric: Rubric) -> None:
    if judge.n_unanswered:
        raise Incomplete(
            f"{rubric.name}: {judge.n_unanswered} requests got no reply; the last: {judge.last_failure}; repair the "
            "judge and run the same command, which asks only for what is missing"
        )


def _measure(
    rubric: Rubric, items: Sequence[Labelled], verdicts: Sequence[StatedVerdict | None], train: LabelledRows | None
) -> dict[str, Any]:
    judged = judged_by(items, verdicts, rubric)
    known: dict[str, list[LabelAndVerdict]] = judged
    if train is not None:
        known = judged_by(train.items, [None] * len(train.items), rubric)
    if missing := next((name for name in judged if name not in known), None):
        raise ToolError(f"--train-data has no label on '{missing}'; leave it out, or give labels")
    scale = rubric.scale if rubric.kind == "score" else None
    return {name: measure(rows, known[name], scale) for name, rows in judged.items()}


def _rows(items: Sequence[Labelled], verdicts: Sequence[StatedVerdict | None]) -> list[dict[str, Any]]:
    return [
        {
            "id": item.id,
            "group": item.group,
            "labels": dict(item.labels),
            "verdict": None if verdict is None else verdict.said,
            **({"probability": dict(verdict.stated)} if verdict is not None and verdict.stated else {}),
        }
        for item, verdict in zip(items, verdicts, strict=True)
    ]


def _cost(judge: Judge) -> str:
    spent = judge.spent
    return (
        f"judged: {spent.n_asked} requests ({spent.n_cached} more from the cache), {spent.n_failed} without a verdict, "
        f"{spent.tokens_in} tokens in, {spent.tokens_out} out, cost {spent.money:.6g}"
    )


def _brief(criteria: dict[str, Any]) -> dict[str, Any]:
    """What is printed beside a score."""
    kept = ("n", "n_failed", "balanced_accuracy", "kappa", "accuracy", "brier")
    return {name: {key: one[key] for key in kept if key in one} for name, one in criteria.items()}


def _metrics(criteria: dict[str, Any]) -> dict[str, Any]:
    """For the manifest and the card: each criterion's agreement as rates."""
    return {
        f"{name}_{key}": one[key]
        for name, one in criteria.items()
        for key in ("balanced_accuracy", "accuracy", "brier")
        if key in one
    } | {f"{name}_kappa": one["kappa"]["estimate"] for name, one in criteria.items() if "kappa" in one}
