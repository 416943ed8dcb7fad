"""`tools-scorer evaluate`: does the scorer separate right from wrong traces, and what would it have saved?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.config.scorer import ScorerEvaluateConfig
from tools_scorer.evaluation.baselines import Baseline, baselines
from tools_scorer.evaluation.judged import Columns, JudgedTrace, by_question, columns, judge
from tools_scorer.evaluation.metrics import (
    average_precision,
    question_aurocs,
    roc,
    within_auroc,
)
from tools_scorer.evaluation.power import power
from tools_scorer.evaluation.replay import memory_budgets, thresholds
from tools_scorer.evaluation.results import FRACTIONS, AtPosition, Compared, Results, StepAurocs
from tools_scorer.evaluation.selection import selections
from tools_scorer.evaluation.texts import text_baselines
from tools_scorer.evaluation.verdict import verdict
from tools_scorer.states.folder import Hidden, open_hidden
from tools_scorer.train import check_unchanged, hidden_sha256
from tools_scorer.training.calibration import uncalibrated
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, write_json, write_jsonl
from tools_shared.runs import default_output_dir, draft, finished
from tools_shared.runs.read import MANIFEST, Manifest, read_manifest
from tools_shared.scorers.scorer import WEIGHTS, Scorer, load_scorer
from tools_shared.states.shards import READER_FIELDS
from tools_shared.stats import Interval, bounded_difference
from tools_shared.stats.auroc import pooled_auroc
from tools_shared.stats.calibration import brier, ece, reliability

if TYPE_CHECKING:
    import numpy as np

TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def evaluate(config: ScorerEvaluateConfig, invocation: Invocation) -> Manifest:
    """Judge and publish the run: results.json, scores.jsonl, plots/, report.html; returns its manifest.

    Raises ToolError when scorer and states do not fit, naming both, or when the split cannot be judged.
    """
    if config.scorer is None or config.data is None:
        raise ToolError("--scorer (a run of tools-scorer train) and --data (a folder of hidden states) are needed")
    output_dir = Path(config.output_dir or default_output_dir("scorer_eval"))
    done = finished(output_dir, config)
    scorer, hidden = load_scorer(config.scorer), open_hidden(config.data)
    if done:
        return check_unchanged(done, hidden)
    scorer.check_reader(hidden.manifest.to_json(), str(hidden.path), READER_FIELDS)
    hidden.verify()
    traces = judge(hidden, scorer, config.split)
    table = columns(traces)
    say(power(table.labels, table.questions).sentence())
    results = measure(hidden, scorer, traces, config)
    with draft(output_dir, config, invocation, "scorer_eval") as run:
        _note_scorer(run, config.scorer, scorer)
        run.add_input("hidden", str(hidden.path), hidden_sha256(hidden))
        said = verdict(results)
        _write(run.path, results, traces, said, scorer)
        for sentence in said:
            say(sentence)
        return run.finish(headline(results) | {"verdict": " ".join(said)}, seed=config.seed)


def _note_scorer(run: Any, spec: str, scorer: Scorer) -> None:
    parent = read_manifest(spec).sha256 if (Path(spec) / MANIFEST).exists() else None
    run.add_input("scorer", spec, sha256_file(scorer.path / WEIGHTS), run_sha256=parent)


def _write(folder: Path, results: Results, traces: Sequence[JudgedTrace], said: Sequence[str], scorer: Scorer) -> None:
    from tools_scorer.evaluation.report import write_report

    write_jsonl(folder / "scores.jsonl", (score_row(trace) for trace in traces))
    write_json(folder / "results.json", {"verdict": list(said), **dataclasses.asdict(results)})
    write_report(folder, results, said, scorer.facts)


def score_row(trace: JudgedTrace) -> dict[str, Any]:
    row = {"trace_id": trace.info.trace_id, "question_id": trace.info.question_id, "is_correct": trace.info.is_correct}
    steps = [round(p, 6) for p in trace.steps]
    return row | {"score": trace.score.to_json(), "steps": steps, "ends": list(trace.ends)}


def measure(hidden: Hidden, scorer: Scorer, traces: Sequence[JudgedTrace], config: ScorerEvaluateConfig) -> Results:
    """Everything that is reported of these traces."""
    import numpy as np

    table = columns(traces)
    scores = np.array([getattr(t.score, config.aggregate) for t in traces])
    options = {"n_resamples": config.resamples, "seed": config.seed}
    questions = by_question(traces)
    before = judge(hidden, uncalibrated(scorer), config.split)
    raw = np.array([getattr(t.score, config.aggregate) for t in before])
    false, true = roc(table.labels, scores)
    picking = (questions, config.aggregate, config.seed, config.resamples)
    return Results(
        split=config.split,
        aggregate=config.aggregate,
        n_traces=len(traces),
        n_questions=len(questions),
        n_groups=len(set(table.groups)),
        n_mixed=len(question_aurocs(table.labels, scores, table.questions)),
        share_right=float(table.labels.mean()),
        pooled=pooled_auroc(table.labels, scores, table.groups, **options),
        within=within_auroc(table.labels, scores, table.questions, table.groups, **options),
        average_precision=average_precision(table.labels, scores),
        brier=brier(table.labels, scores),
        calibration=_calibration(table, scores, raw, traces, before),
        by_fraction=[_at(traces, f, True, options) for f in FRACTIONS],
        by_tokens=[_at(traces, n, False, options) for n in TOKENS if n <= np.median([t.n_tokens for t in traces]) * 2],
        compared=[_compare(b, table, scores, options) for b in _baselines(hidden, traces, config)],
        power=power(table.labels, table.questions),
        steps=_step_aurocs(traces, options),
        selected=selections(questions, config.aggregate, config.max_k, config.seed, config.resamples),
        stopped=thresholds(*picking),
        dropped=memory_budgets(*picking),
        dropped_by_lot=memory_budgets(*picking, by_lot=True),
        curves={
            "roc": [false.tolist(), true.tolist()],
            "reliability": reliability(table.labels, scores),
            "reliability_before": reliability(table.labels, raw),
            "trajectories": _trajectories(traces),
        },
    )


def _baselines(hidden: Hidden, traces: Sequence[JudgedTrace], config: ScorerEvaluateConfig) -> Iterator[Baseline]:
    yield from baselines(hidden, traces)
    if config.traces is not None:
        yield from text_baselines(hidden, config.traces, config.scorer_model, traces, config.aggregate)


def _step_aurocs(traces: Sequence[JudgedTrace], options: Mapping[str, int]) -> StepAurocs | None:
    """None unless two questions have labelled steps, and steps of both kinds."""
    import numpy as np

    known = [t for t in traces if t.info.step_labels is not None and len(t.info.step_labels) == len(t.steps)]
    labels = np.array([float(label) for t in known for label in t.info.step_labels or ()])
    groups = [t.info.group for t in known for _ in t.steps]
    if len(set(groups)) < 2 or labels.sum() in (0, len(labels)):
        return None
    scores = np.array([p for t in known for p in t.steps])
    numbers = np.array([i for i, t in enumerate(known) for _ in t.steps])
    within = within_auroc(labels, scores, numbers, groups, **options)
    return StepAurocs(pooled_auroc(labels, scores, groups, **options), within)


def _calibration(
    table: Columns, scores: np.ndarray, raw: np.ndarray, traces: Sequence[JudgedTrace], before: Sequence[JudgedTrace]
) -> dict[str, float]:
    """Expected calibration error of traces and of steps, Brier score, before and after."""
    import numpy as np

    labels = np.concatenate([np.full(len(t.steps), t.right, dtype=np.float64) for t in traces])
    steps, raw_steps = (np.concatenate([t.steps for t in part]) for part in (traces, before))
    return {
        "ece_before": ece(table.labels, raw),
        "ece_after": ece(table.labels, scores),
        "ece_steps_before": ece(labels, raw_steps),
        "ece_steps_after": ece(labels, steps),
        "brier_before": brier(table.labels, raw),
        "brier_after": brier(table.labels, scores),
    }


def _at(traces: Sequence[JudgedTrace], place: float, fraction: bool, options: Mapping[str, int]) -> AtPosition:
    import numpy as np

    means = [trace.mean_until(place * trace.n_tokens if fraction else place) for trace in traces]
    seen = [(trace, mean) for trace, mean in zip(traces, means, strict=True) if mean is not None]
    if not seen:
        return AtPosition(place, None, 0)
    table = columns([trace for trace, _ in seen])
    scores = np.array([mean for _, mean in seen])
    return AtPosition(place, within_auroc(table.labels, scores, table.questions, table.groups, **options), len(seen))


def _compare(baseline: Baseline, table: Columns, scores: np.ndarray, options: Mapping[str, int]) -> Compared:
    pooled = pooled_auroc(table.labels, baseline.scores, table.groups, **options)
    if not baseline.within:
        return Compared(baseline.name, baseline.what, pooled, None, None)
    within = within_auroc(table.labels, baseline.scores, table.questions, table.groups, **options)
    mine = question_aurocs(table.labels, scores, table.questions)
    theirs = question_aurocs(table.labels, baseline.scores, table.questions)
    group = dict(zip(table.questions.tolist(), table.groups, strict=True))
    clusters = [group[q] for q in mine]
    differences = [mine[q] - theirs[q] for q in mine]
    difference = bounded_difference(differences, clusters, **options) if len(set(clusters)) > 1 else None
    return Compared(baseline.name, baseline.what, pooled, within, difference)


def _trajectories(traces: Sequence[JudgedTrace], n_shown: int = 12) -> dict[str, Any]:
    """Mean probability at each tenth of the traces, right and wrong apart, and some single traces."""
    found: dict[str, Any] = {}
    for name, right in (("right", True), ("wrong", False)):
        mine = [trace for trace in traces if trace.right is right]
        by_place = [[m for t in mine if (m := t.mean_until(f * t.n_tokens)) is not None] for f in FRACTIONS]
        found[name] = {
            "mean": [sum(values) / len(values) if values else None for values in by_place],
            "single": [[[e / t.n_tokens for e in t.ends], list(t.steps)] for t in mine[:n_shown]],
        }
    return found


def headline(results: Results) -> dict[str, Any]:
    """What the run's manifest carries."""
    found: dict[str, Any] = {"within_auroc": _plain(results.within), "pooled_auroc": _plain(results.pooled)}
    for compared in results.compared:
        found[f"pooled_auroc_of_{compared.name.replace(' ', '_').replace('-', '_')}"] = _plain(compared.pooled)
    if results.selected:
        last = results.selected[-1]
        found |= {f"{rule.replace(' ', '_')}_k{last.k}": _plain(rate) for rule, rate in last.rates.items()}
    return found | {
        "ece_before": round(results.calibration["ece_before"], 4),
        "ece_after": round(results.calibration["ece_after"], 4),
        "brier": round(results.brier, 4),
        "n_traces": results.n_traces,
        "n_questions": results.n_questions,
    }


def _plain(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else dataclasses.asdict(interval)
