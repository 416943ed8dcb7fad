"""The two sides of a comparison: read back, checked to be alike, graded again by one grader, and paired by item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools_bench.grading.grade import Graded, grade_all, keep_metrics, metric_names
from tools_bench.grading.judge import FILE as JUDGEMENTS
from tools_bench.grading.judge import apply_judgements
from tools_bench.grading.metrics import EVALUATIONS, METRICS, headline, metric_of
from tools_bench.grading.results import FILE as RESULTS
from tools_bench.requests.item import Item
from tools_bench.requests.journal import FILE as RESPONSES
from tools_bench.requests.journal import DrawKey, Response, read_responses
from tools_shared.config import digest
from tools_shared.errors import Incomplete, ToolError
from tools_shared.prompts import Profile
from tools_shared.runs.read import check_unchanged, partial_dir

ITEMS = "items.jsonl"
SIZES = ("total", "n", "count", "num_examples", "num_samples", "total_examples", "total_problems", "total_prompts")

OLD_NAMES = {
    "math_accuracy": {
        "exact_match_accuracy": "exact_match",
        "numeric_match_accuracy": "numeric_match",
        "partial_match_accuracy": "partial_match",
    },
    "safety": {"refusal_rate_when_needed": "refusal_rate", "overall_accuracy": "safety_accuracy"},
}
"""What the first benchmark.py called the metrics that have other names here."""


@dataclass(frozen=True)
class Side:
    """One run. `graded` is None for a file of aggregates only (the old format). `judged` is what is said of a judge's
    judgements beside today's grades; empty without a judge."""

    name: str
    path: Path
    results: Mapping[str, Any]
    graded: list[Graded] | None
    judged: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tells_format(self) -> bool:
        return bool(self.results.get("tells_format", True))


def is_benchmark(path: str | Path) -> bool:
    """Whether a path is a benchmark run, finished or not, or a results file."""
    path = Path(path)
    unfinished = (partial_dir(path) / ITEMS).exists() and not path.exists()
    return (path / RESULTS).exists() or path.name.endswith(".json") or unfinished


def read_side(given: str | Path) -> Side:
    """Read a run directory or a `benchmark_results.json`, and grade its responses with today's grader.

    Raises Incomplete for a run that has not finished, ToolError for what is no benchmark.
    """
    folder, file = _folder_and_file(given)
    results = read_results(given)
    for path in (file, *(folder / name for name in (ITEMS, RESPONSES, JUDGEMENTS))):
        check_unchanged(path)
    name = str(results.get("model_name") or folder.resolve().name)
    if not ((folder / ITEMS).exists() and "hashes" in results):
        return Side(name, file, results, None)
    profile = Profile.from_json(results["profile"], str(file))
    items, responses = read_items(folder), read_responses(folder / RESPONSES)
    _check_whole(folder, results["hashes"], items, responses)
    graded = grade_all(items, responses, profile)
    judgements = read_responses(folder / JUDGEMENTS) if (folder / JUDGEMENTS).exists() else {}
    judged = apply_judgements(graded, judgements) if judgements else {}
    keep_metrics(graded, results.get("chosen_metrics", {}))
    return Side(name, folder, results, graded, judged)


def _check_whole(
    folder: Path, hashes: Mapping[str, Any], items: Sequence[Item], responses: Mapping[DrawKey, Response]
) -> None:
    """Raise ToolError when items are not those that were asked, or a sample of one has no stored response."""
    by_task: dict[str, list[Any]] = {}
    for item in items:
        by_task.setdefault(item.task, []).append(item.to_json())
    for task, asked in hashes["data"].items():
        if digest(by_task.get(task, [])) != asked:
            raise ToolError(f"{folder / ITEMS}: task '{task}' has other items than the run asked; restore the file")
    draws = range(hashes["sampling"].get("samples", 1))
    missing = [(item, draw) for item in items for draw in draws if (item.task, item.id, draw) not in responses]
    if missing:
        item = missing[0][0]
        raise ToolError(
            f"{folder / RESPONSES}: {len(missing)} of {len(items) * len(draws)} responses are missing, first that to "
            f"{item.task}/{item.id}; restore the file, or make the run again"
        )


def read_results(given: str | Path) -> Mapping[str, Any]:
    """What a run directory, or a `benchmark_results.json`, says came out; raises as `read_side`."""
    folder, file = _folder_and_file(given)
    if not folder.exists() and partial_dir(folder).is_dir():
        raise Incomplete(f"{given}: this run has not finished; run its command again, then compare")
    results = _read_json(file)
    if not isinstance(results, Mapping) or not isinstance(results.get("evaluations"), Mapping):
        raise ToolError(f"{file}: no 'evaluations' in it; name a benchmark run or its {RESULTS}")
    return results


def _folder_and_file(given: str | Path) -> tuple[Path, Path]:
    path = Path(given)
    return (path, path / RESULTS) if path.is_dir() or path.suffix != ".json" else (path.parent, path)


def read_items(folder: Path) -> list[Item]:
    lines = (folder / ITEMS).read_text(encoding="utf-8").split("\n")[:-1]
    return [Item.from_json(json.loads(line)) for line in lines]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file; name a benchmark run or its {RESULTS}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: not valid JSON ({error})") from error


def mismatches(baseline: Side, current: Side) -> list[str]:
    """What makes two runs unlike, a sentence each."""
    return differing(baseline.results["hashes"], current.results["hashes"])


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between a baseline's hashes and those of a run, made or planned, a sentence each."""
    found = []
    for what, words in (("data", "the items"), ("prompt", "the prompts")):
        for task in {**there[what], **here[what]}:
            if task not in there[what] or task not in here[what]:
                found.append(f"task '{task}' is only in {'current' if task in here[what] else 'baseline'}")
            elif there[what][task] != here[what][task]:
                found.append(f"{words} of task '{task}' differ")
    for name in {**there["sampling"], **here["sampling"]}:
        a, b = there["sampling"].get(name), here["sampling"].get(name)
        if a != b:
            found.append(f"{name} is {a} in baseline and {b} in current")
    return list(dict.fromkeys(found))


Key = tuple[str, str]
Words = tuple[str, str | None, str | None]
Means = dict[Key, dict[str, float]]


def item_means(graded: Sequence[Graded]) -> Means:
    """For each item its mean value over the samples, by metric."""
    values: dict[Key, dict[str, list[float]]] = {}
    for g in graded:
        mine = values.setdefault(g.item.key, {})
        for name, value in g.values.items():
            if value is not None:
                mine.setdefault(name, []).append(value)
    return {key: {n: sum(v) / len(v) for n, v in found.items()} for key, found in values.items()}


def pair(baseline: Side, current: Side) -> dict[str, tuple[list[float], list[float]]]:
    """The values of each metric on the items that both have with the same words; raises ToolError without any."""
    one, two = item_means(baseline.graded or []), item_means(current.graded or [])
    same = _same_items(baseline, current)
    if not same:
        raise ToolError(f"{baseline.name} and {current.name} have no item in common; there is nothing to compare")
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for name in _metrics(baseline, current):
        keys = [(there, here) for there, here in same if name in one[there] and name in two[here]]
        if keys:
            weights = _weights(name, [there for there, _ in keys], baseline)
            pairs[name] = (
                [w * one[there][name] for (there, _), w in zip(keys, weights, strict=True)],
                [w * two[here][name] for (_, here), w in zip(keys, weights, strict=True)],
            )
    return pairs


def _weights(name: str, keys: Sequence[Key], side: Side) -> list[float]:
    """How much each item counts, 1 on average: a mean over items is then one over what the metric counts."""
    items = {g.item.key: g.item for g in side.graded or []}
    counts = [metric_of(name).weight(items[key]) for key in keys]
    return [n * len(counts) / sum(counts) for n in counts]


def _same_items(baseline: Side, current: Side) -> list[tuple[Key, Key]]:
    """The keys of each item that both sides have: under one task and id, else (of two harnesses) with the same words,
    where no other item of a side has them."""
    there, here = _words(baseline), _words(current)
    same = [(key, key) for key, words in there.items() if here.get(key) == words]
    paired = {key for key, _ in same}
    left = _only(here, paired)
    by_words = _only(there, paired)
    return same + [(by_words[words], left[words]) for words in by_words if words in left]


def _words(side: Side) -> dict[Key, Words]:
    return {g.item.key: (g.item.question.strip(), g.item.answer, g.item.label) for g in side.graded or []}


def _only(items: Mapping[Key, Words], paired: set[Key]) -> dict[Words, Key]:
    """The key of each item that is not paired, by its words; without those whose words several have."""
    found: dict[Words, list[Key]] = {}
    for key, words in items.items():
        if key not in paired:
            found.setdefault(words, []).append(key)
    return {words: keys[0] for words, keys in found.items() if len(keys) == 1}


def _metrics(baseline: Side, current: Side) -> list[str]:
    names = [n for side in (baseline, current) for kind in EVALUATIONS for n in metric_names(side.graded or [], kind)]
    unique = list(dict.fromkeys(names))
    # Where no format was asked for, strict accuracy compares habits, not mathematics.
    return [n for n in unique if n != "accuracy" or (baseline.tells_format and current.tells_format)]


def pair_aggregates(baseline: Side, current: Side) -> tuple[dict[str, tuple[float, int, float, int]], list[str]]:
    """The rates that an old file shares with a run, with their sizes; and what to be warned of."""
    pairs: dict[str, tuple[float, int, float, int]] = {}
    warnings = [
        f"{baseline.path} contains aggregates only: the comparison is unpaired, its prompts and data cannot be "
        "checked, and small differences stay unseen; run the baseline again to be sure"
    ]
    for kind, evaluation in current.results["evaluations"].items():
        old = baseline.results["evaluations"].get(kind)
        if not isinstance(old, Mapping):
            warnings.append(f"{kind}: not in the baseline; nothing of it is compared")
            continue
        old = {OLD_NAMES.get(kind, {}).get(name, name): value for name, value in old.items()}
        rates = {n for n, v in old.items() if _is_rate(v) and n not in SIZES}
        if alone := sorted(rates - set(evaluation["intervals"])):
            warnings.append(f"{kind}: {', '.join(alone)} of the baseline: no metric here; not compared")
        if others := sorted(set(evaluation["intervals"]) - set(old)):
            warnings.append(f"{kind}: {', '.join(others)}: not in the baseline; not compared")
        size = next((old[key] for key in SIZES if isinstance(old.get(key), int) and old[key] > 0), None)
        for name, value in old.items():
            entry = evaluation["intervals"].get(name)
            if entry is None or not _is_rate(value):
                continue
            if not 0 <= value <= 1:
                warnings.append(f"{kind}.{name} is {value} in the baseline, not a share between 0 and 1: left out")
                continue
            pairs[name] = float(value), size or entry["n"], entry["estimate"], entry["n"]
        if size is None:
            warnings.append(f"{kind}: the baseline does not say how many items; taken to be as many as in current")
    if not pairs:
        raise ToolError(f"{baseline.path}: shares no metric with {current.name} ({', '.join(list(METRICS)[:5])}, ...)")
    return pairs, warnings


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flips(baseline: Side, current: Side) -> list[dict[str, Any]]:
    """The items whose headline metric changed, with both answers, current's losses first."""
    means = item_means(baseline.graded or []), item_means(current.graded or [])
    first = [{g.item.key: g for g in reversed(side.graded or [])} for side in (baseline, current)]
    told = baseline.tells_format and current.tells_format
    headlines = {kind: headline(kind, told, metric_names(baseline.graded or [], kind)) for kind in EVALUATIONS}
    rows = []
    for key, here in _same_items(baseline, current):
        item = first[0][key].item
        name = headlines[item.kind]
        a, b = means[0][key].get(name), means[1][here].get(name)
        if a is None or b is None or a == b:
            continue
        sides = {
            side: {"value": value, "outcome": g.outcome, "answer": g.answer, "text": g.response.text}
            for side, value, g in (("baseline", a, first[0][key]), ("current", b, first[1][here]))
        }
        gold = item.answer or item.label
        rows.append({"task": key[0], "id": key[1], "metric": name, "question": item.question, "gold": gold, **sides})
    return sorted(rows, key=lambda row: row["current"]["value"] - row["baseline"]["value"])
