"""From graded samples to `benchmark_results.json`: rates with intervals, errors apart, groups beside."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tools_bench.grading.draws import over_draws
from tools_bench.grading.grade import Graded, metric_names
from tools_bench.grading.metrics import EVALUATIONS, headline, metric_of
from tools_bench.grading.positions import position_bias
from tools_bench.requests.power import sentence
from tools_shared.files import csv_cells
from tools_shared.runs.card import show_metric
from tools_shared.stats import Interval, bootstrap_mean, wilson

FILE = "benchmark_results.json"
COLUMNS = ("task", "id", "sample", "kind", "outcome", "question", "gold", "answer", "text", "finish_reason", "error")
FEWEST_IN_GROUP = 5
JUDGED = ("judged_score", "correct_direction_rate")
"""Metrics that a judge alone says: its agreement with people's labels is printed with them."""


def rate(pairs: Sequence[tuple[Any, float]]) -> Interval:
    """The mean of (item, value) pairs: Wilson where each item occurs once and is right or wrong, else a bootstrap over
    items."""
    values = [value for _, value in pairs]
    items = {item for item, _ in pairs}
    mean = sum(values) / len(values)
    if all(v in (0.0, 1.0) for v in values) and (len(items) == len(values) or mean in (0.0, 1.0) or len(items) < 2):
        n = len(items)
        one = wilson(round(mean * n), n)
        return Interval(mean, one.low, one.high, n)
    if len(items) < 2 or len(set(values)) == 1:
        return Interval(mean, 0.0, 1.0, len(items))
    found = bootstrap_mean(values, [item for item, _ in pairs])
    return Interval(found.estimate, found.low, found.high, len(items))


def as_json(interval: Interval) -> dict[str, Any]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n}


def summarize(graded: Sequence[Graded], tells_format: bool) -> dict[str, Any]:
    """The part of the results that depends on the responses: `evaluations` by kind, `headline`, `outcomes`."""
    kinds = [kind for kind in EVALUATIONS if any(g.item.kind == kind for g in graded)]
    headlines = {kind: headline(kind, tells_format, metric_names(graded, kind)) for kind in kinds}
    evaluations = {}
    for kind in kinds:
        of_kind = [g for g in graded if g.item.kind == kind]
        tasks = list(dict.fromkeys(g.item.task for g in of_kind))
        evaluation = _evaluation(of_kind, kind)
        if len(tasks) > 1:
            evaluation["by_task"] = {t: _intervals([g for g in of_kind if g.item.task == t], kind) for t in tasks}
        evaluation["groups"] = _groups(of_kind, headlines[kind])
        if kind == "choice" and (bias := position_bias(of_kind)):
            evaluation["positions"] = bias
        evaluations[EVALUATIONS[kind]] = evaluation
    return {
        "headline": {EVALUATIONS[kind]: headlines[kind] for kind in kinds},
        "evaluations": evaluations,
        "outcomes": dict(Counter(g.outcome for g in graded).most_common()),
    }


def _evaluation(graded: Sequence[Graded], kind: str) -> dict[str, Any]:
    """Plain numbers under the metrics' names, as readers of the file expect, and the same with intervals."""
    intervals = _intervals(graded, kind)
    return {
        "total": len({g.item.key for g in graded}),
        **{name: found["estimate"] for name, found in intervals.items()},
        "errors": dict(Counter(g.outcome for g in graded if not g.answered)),
        "outcomes": dict(Counter(g.outcome for g in graded)),
        "intervals": intervals,
    }


def _intervals(graded: Sequence[Graded], kind: str) -> dict[str, Any]:
    found = {}
    for name in metric_names(graded, kind):
        pairs = _pairs(graded, name)
        answered = _pairs([g for g in graded if g.answered], name)
        entry = as_json(rate(pairs)) | {"direction": metric_of(name).direction}
        if answered and len(answered) < len(pairs):
            entry["answered"] = as_json(rate(answered))
        if (alone := _over_draws(graded, name)) is not None:
            entry["draws"] = {"low": alone[0], "high": alone[1]}
        if agreement := metric_of(name).agreement:
            entry["detector_agreement"] = agreement.text()
        found[name] = entry
    return found


def _over_draws(graded: Sequence[Graded], name: str) -> tuple[float, float] | None:
    values: dict[Any, list[float]] = {}
    for g in graded:
        if (value := g.values.get(name)) is not None:
            values.setdefault(g.item.key, []).append(value)
    return over_draws(values) if metric_of(name).has_one_weight else None


def _pairs(graded: Sequence[Graded], name: str) -> list[tuple[Any, float]]:
    """The item and value of each sample that the metric says something about, as often as it counts."""
    weight = metric_of(name).weight
    held = [(g, v) for g in graded if (v := g.values.get(name)) is not None]
    return [(g.item.key, v) for g, v in held for _ in range(weight(g.item))]


def _groups(graded: Sequence[Graded], name: str) -> dict[str, Any]:
    """The headline metric by label (topic, grade, subject ...), for labels with a few items at least."""
    pairs: dict[str, dict[str, list]] = {}
    for g in graded:
        value = g.values.get(name)
        if value is not None:
            for group, labels in g.item.groups.items():
                for label in labels:
                    pairs.setdefault(group, {}).setdefault(label, []).append((g.item.key, value))
    return {
        group: {label: as_json(rate(found)) for label, found in sorted(labels.items()) if len(found) >= FEWEST_IN_GROUP}
        for group, labels in pairs.items()
        if any(len(found) >= FEWEST_IN_GROUP for found in labels.values())
    }


def headline_metrics(results: Mapping[str, Any]) -> dict[str, Any]:
    """For the manifest and the card: each metric as one rate."""
    return {
        f"{name}": {key: entry[key] for key in ("estimate", "low", "high", "n")}
        for evaluation in results["evaluations"].values()
        for name, entry in evaluation["intervals"].items()
    }


def as_text(results: Mapping[str, Any]) -> str:
    """`metrics.txt`: what a person reads after a run."""
    lines = [f"{results['model_name']} on suite {results['suite']}", ""]
    lines += [sentence(name, power) for name, power in results.get("power", {}).items()]
    lines += [""] if results.get("power") else []
    for name, evaluation in results["evaluations"].items():
        lines.append(f"{name}: {evaluation['total']} items; {_counts(evaluation['outcomes'])}")
        for metric, entry in evaluation["intervals"].items():
            star = "*" if results["headline"][name] == metric else " "
            arrow = {1: "higher is better", -1: "lower is better", 0: "described only"}[entry["direction"]]
            answered = f"; over answered {show_metric(entry['answered'])}" if "answered" in entry else ""
            lines.append(f" {star} {metric:<30} {show_metric(entry)}  ({arrow}{answered})")
            if alone := entry.get("draws"):
                k = results["hashes"]["sampling"]["samples"]
                ends = f"[{100 * alone['low']:.1f}, {100 * alone['high']:.1f}]"
                lines.append(
                    f"     avg@{k}; over questions and samples, above; over samples of these questions alone {ends}"
                )
            if "detector_agreement" in entry:
                lines.append(f"     detector: {entry['detector_agreement']}")
            if metric in JUDGED:
                lines += [f"     judge: {line}" for line in results.get("judge", {}).get("agreement_with_labels", [])]
        if bias := evaluation.get("positions"):
            lines += _positions(bias)
        lines.append("")
    if found := results.get("contamination"):
        lines += [*_contamination(found), ""]
    if clean := results.get("clean_subset"):
        lines.append(f"without the {clean['contaminated_items']} items that the training data holds:")
        for name, evaluation in clean["evaluations"].items():
            metric = results["headline"][name]
            if metric in evaluation["intervals"]:
                lines.append(f"   {metric:<30} {show_metric(evaluation['intervals'][metric])}")
        lines.append("")
    if judge := results.get("judge"):
        lines.append(f"judge {judge['model']}: {judge['judged']} replies judged, {judge['failed']} failed")
        if took := judge.get("effort"):
            spent = "cost unknown" if took["spent"] is None else f"{took['spent']:g} spent"
            lines.append(f"   {took['tokens_in']} tokens in, {took['tokens_out']} out, {spent}")
        for name, entry in judge["agreement_with_detectors"].items():
            lines.append(f"   agrees with {name} on {entry['agree']} of {entry['n']}")
        lines.append("")
    lines.append("* headline; failed requests count as the worst answer. 95 % intervals.")
    return "\n".join(lines) + "\n"


def _contamination(found: Mapping[str, Any]) -> list[str]:
    """Whether the training data holds the items of each task: clean, how many are removed, or not checked."""
    said = {
        task: f"{one['removed']} items removed" if one["status"] == "removed" else one["status"]
        for task, one in found.items()
    }
    hint = " (--train-data checks it)" if "not checked" in said.values() else ""
    return [f"contamination{hint}: {', '.join(f'{task} {words}' for task, words in said.items())}"]


def _positions(bias: Mapping[str, Any]) -> list[str]:
    shares = ", ".join(
        f"{letter} {100 * share:.0f} % (right {100 * bias['right'][letter]:.0f} %)"
        for letter, share in bias["chosen"].items()
    )
    lines = [f"   chosen by place: {shares}"]
    if (p := bias.get("p_value")) is not None:
        said = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
        lines.append(
            f"   a model that looks at no place chooses like this with {said}{'' if p > 0.05 else ': position bias'}"
        )
    return lines


def _counts(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(outcomes.items(), key=lambda pair: -pair[1]))


def as_csv(graded: Sequence[Graded]) -> str:
    """Every sample on a row, with its values."""
    names = [n for kind in EVALUATIONS for n in metric_names(graded, kind)]
    file = io.StringIO()
    writer = csv_cells.Writer(file)
    writer.row([*COLUMNS, *names])
    for g in graded:
        r = g.response
        writer.row(
            [
                g.item.task, g.item.id, r.sample, g.item.kind, g.outcome, g.item.question,
                g.item.answer or g.item.label, g.answer, r.text, r.finish_reason, r.error,
                *(g.values.get(n) for n in names),
            ]
        )  # fmt: skip
    return file.getvalue()
