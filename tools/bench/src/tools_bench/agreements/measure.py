"""What a judge's verdicts are worth beside people's labels, criterion by criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tools_bench.agreements.baselines import best_length, by_the_other_half, majority
from tools_bench.agreements.confusion import balanced_accuracy, confusion, difference, interval, kappa
from tools_shared.judging.bias import rank_correlation
from tools_shared.judging.labels import FIRST_WINS, Labelled
from tools_shared.judging.rubric import Rubric
from tools_shared.judging.stated import StatedVerdict
from tools_shared.stats import Interval, bounded_mean, wilson
from tools_shared.stats.auroc import pooled_auroc
from tools_shared.stats.bootstrap import cluster_index
from tools_shared.stats.calibration import brier, ece

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LabelAndVerdict:
    """A label and what the judge said: a yes/no, or a number on the rubric's scale; None where it gave no verdict.
    `probability` is that of yes, where the judge states one."""

    label: bool | float
    said: bool | float | None
    probability: float | None
    length: int
    group: str


def judged_by(
    items: Sequence[Labelled], verdicts: Sequence[StatedVerdict | None], rubric: Rubric
) -> dict[str, list[LabelAndVerdict]]:
    """Labels and verdicts by criterion."""
    found: dict[str, list[LabelAndVerdict]] = {}
    for item, verdict in zip(items, verdicts, strict=True):
        for name, label in item.labels.items():
            said, probability = _said(verdict, name, rubric)
            found.setdefault(name, []).append(LabelAndVerdict(label, said, probability, len(item.reply), item.group))
    return found


def _said(verdict: StatedVerdict | None, name: str, rubric: Rubric) -> tuple[bool | float | None, float | None]:
    if verdict is None:
        return None, None
    if name == FIRST_WINS:
        # A tie takes no side: it disagrees with either label.
        return {"A": True, "B": False}.get(verdict.said["better"]), None
    if rubric.kind == "score":
        low, high = rubric.scale
        return verdict.said["score"], (verdict.said["score"] - low) / (high - low)
    return verdict.said[name], verdict.stated.get(name)


def measure(
    rows: Sequence[LabelAndVerdict], train: Sequence[LabelAndVerdict], scale: tuple[float, float] | None
) -> dict[str, Any]:
    """The agreement on one criterion, and that of the baselines, which are chosen on `train`. On a `scale` a label or a
    score from its middle on is a yes. A failed judgement disagrees with its label.

    Raises ToolError with fewer than 2 groups.
    """
    middle = None if scale is None else (scale[0] + scale[1]) / 2
    labels = [_yes(row.label, middle) for row in rows]
    said = [not label if row.said is None else _yes(row.said, middle) for row, label in zip(rows, labels, strict=True)]
    groups = [row.group for row in rows]
    counts = confusion(labels, said, groups)
    figures: dict[str, Any] = {
        "n": len(rows),
        "n_groups": len(set(groups)),
        "n_yes": sum(labels),
        "n_failed": sum(row.said is None for row in rows),
        **_rates(counts, labels, said, groups),
        **_calibration(rows, labels, scale),
        **({} if scale is None else _distances(rows, scale)),
        **(_with_threshold(rows, labels) if scale is None else {}),
    }
    return figures | {"baselines": _baselines(rows, train, labels, counts, middle)}


def _yes(value: bool | float, middle: float | None) -> bool:
    return bool(value) if middle is None else value >= middle


def _rates(
    counts: np.ndarray, labels: Sequence[bool], said: Sequence[bool], groups: Sequence[str]
) -> dict[str, dict[str, Any]]:
    right = [float(a == b) for a, b in zip(labels, said, strict=True)]
    found = {
        "balanced_accuracy": interval(counts, balanced_accuracy),
        "kappa": interval(counts, kappa),
        "accuracy": bounded_mean(right, groups),
    }
    for name, label in (("yes_judged_right", True), ("no_judged_right", False)):
        mine = [(value, group) for value, group, one in zip(right, groups, labels, strict=True) if one is label]
        if len({group for _, group in mine}) > 1:
            found[name] = bounded_mean([value for value, _ in mine], [group for _, group in mine])
        elif mine:
            found[name] = wilson(sum(value for value, _ in mine), len(mine))
    return {name: asdict(one) for name, one in found.items() if one is not None}


def _calibration(
    rows: Sequence[LabelAndVerdict], labels: Sequence[bool], scale: tuple[float, float] | None
) -> dict[str, Any]:
    """Brier's score and the calibration error of the probabilities that the judge states; nothing where it states
    none. For labels that are themselves scores a score is no probability."""
    known = [(row, label) for row, label in zip(rows, labels, strict=True) if row.probability is not None]
    if scale is not None and any(row.label not in scale for row in rows):
        return {}
    if len({row.group for row, _ in known}) < 2:
        return {}
    import numpy as np

    stated = np.array([row.probability for row, _ in known])
    truth = np.array([float(label) for _, label in known])
    groups = [row.group for row, _ in known]
    index = cluster_index(groups, len(groups))
    members = [np.flatnonzero(index == k) for k in range(int(index.max()) + 1)]
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(500):
        some = np.concatenate([members[k] for k in rng.integers(0, len(members), len(members))])
        errors.append(ece(truth[some], stated[some]))
    low, high = np.quantile(errors, [0.025, 0.975])
    squares = bounded_mean(((stated - truth) ** 2).tolist(), groups)
    error = Interval(ece(truth, stated), float(low), float(high), len(known))
    order = {"auroc": asdict(pooled_auroc(truth, stated, groups))} if 0 < truth.sum() < len(truth) else {}
    return {
        **order,
        "brier": asdict(squares),
        "calibration_error": asdict(error),
        "base_rate_brier": brier(truth, truth.mean()),
    }


def _with_threshold(rows: Sequence[LabelAndVerdict], labels: Sequence[bool]) -> dict[str, Any]:
    """What the judge's probabilities are worth with another threshold than its own: one that is chosen on the other
    half of the groups. A reply without a probability disagrees with its label."""
    known = [i for i, row in enumerate(rows) if row.probability is not None]
    groups = [row.group for row in rows]
    found = by_the_other_half(
        [labels[i] for i in known], [rows[i].probability or 0.0 for i in known], [groups[i] for i in known]
    )
    if found is None:
        return {}
    said = [not label for label in labels]
    for i, yes in zip(known, found[0], strict=True):
        said[i] = yes
    rates = _rates(confusion(labels, said, groups), labels, said, groups)
    return {"with_threshold": {"thresholds": list(found[1]), **rates}}


def _distances(rows: Sequence[LabelAndVerdict], scale: tuple[float, float]) -> dict[str, Any]:
    """On the scale: the rank correlation, and the mean distance as a share of the scale, of what was judged."""
    pairs = [(row.said, row.label, row.group) for row in rows if row.said is not None]
    found: dict[str, Any] = {}
    if rho := rank_correlation([float(a) for a, _, _ in pairs], [float(b) for _, b, _ in pairs]):
        found["rank_correlation"] = asdict(rho)
    if len({group for _, _, group in pairs}) > 1:
        apart = [abs(a - b) / (scale[1] - scale[0]) for a, b, _ in pairs]
        found["mean_distance"] = asdict(bounded_mean(apart, [group for _, _, group in pairs]))
    return found


def _baselines(
    rows: Sequence[LabelAndVerdict],
    train: Sequence[LabelAndVerdict],
    labels: Sequence[bool],
    ours: np.ndarray,
    middle: float | None,
) -> dict[str, Any]:
    known = [_yes(row.label, middle) for row in train]
    rule, most = best_length(known, [row.length for row in train]), majority(known)
    groups = [row.group for row in rows]
    found: dict[str, Any] = {}
    for name, what, said in (
        ("majority", "always yes" if most else "always no", [most] * len(rows)),
        ("length", str(rule), [rule(row.length) for row in rows]),
    ):
        theirs = confusion(labels, said, groups)
        gained = difference(ours, theirs)
        more: Mapping[str, Any] = {} if gained is None else {"judge_minus_this": asdict(gained)}
        found[name] = {"rule": what, **_rates(theirs, labels, said, groups), **more}
    return found
