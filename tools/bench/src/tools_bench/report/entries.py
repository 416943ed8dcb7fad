"""What the dashboard shows of each run: read from benchmark runs, evaluations and training runs alike."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import Means, item_means, read_side
from tools_bench.grading.grade import Graded
from tools_bench.grading.metrics import ALL
from tools_bench.grading.results import FILE as RESULTS
from tools_shared.answers import Status
from tools_shared.config import digest
from tools_shared.errors import ToolError
from tools_shared.evaluation import read_csv
from tools_shared.runs import read_manifest
from tools_shared.runs.read import MANIFEST, Manifest

DEPTH = 3
"""How deep a folder is looked through for runs."""
LONGEST_TEXT = 6000
"""Characters of one text in the file; what is longer is cut, and says so."""
COMPARISONS = ("compare", "bench-compare")
"""Runs that have no model of their own: they stand in the lineage and not on the leaderboard."""
_EVALUATED = {"accuracy": "correct", "accuracy_lenient": "lenient_correct"}


@dataclass
class Entry:
    """One run. `metrics` by name as the run's manifest or results have them; `means` and `examples` are empty where
    there was no evaluation, and `n_rows` counts the rows that `examples` are the first of. `test` names the data that
    it was judged on: rates on other data are not compared."""

    name: str
    manifest: Manifest
    metrics: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    headline: list[str] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    effort: Mapping[str, Any] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    n_rows: int = 0
    means: Means = field(default_factory=dict)
    model: str | None = None
    test: str = ""


def find_runs(folders: Sequence[str]) -> list[Manifest]:
    """The finished runs in the folders, each once, in the order they were made. Raises ToolError when there is none."""
    found: dict[str, Manifest] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise ToolError(f"{folder}: no such folder; name run directories, or folders that hold them")
        for path in runs_below(Path(folder), DEPTH):
            manifest = read_manifest(path)
            found.setdefault(manifest.sha256, manifest)
    if not found:
        raise ToolError(f"{', '.join(folders)}: no finished run (no {MANIFEST} in {DEPTH} levels)")
    return sorted(found.values(), key=lambda m: str(m.data["finished"]))


def runs_below(folder: Path, depth: int) -> Iterator[Path]:
    """The folders with a finished run, at most `depth` deep; drafts and hidden folders are passed over."""
    if (folder / MANIFEST).is_file():
        yield folder
        return
    if depth == 0:
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.endswith((".partial", ".old")) and not child.name.startswith("."):
            yield from runs_below(child, depth - 1)


def read_entries(manifests: Sequence[Manifest], max_examples: int) -> list[Entry]:
    names = _unique_names([m.path for m in manifests])
    return [_entry(name, manifest, max_examples) for name, manifest in zip(names, manifests, strict=True)]


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Folder names; where two are alike, with as many of the folders above as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    longest = max(map(len, parts), default=0)

    def name(own: tuple[str, ...]) -> str:
        tails = (own[-n:] for n in range(1, longest + 1))
        return "/".join(next(tail for tail in tails if sum(tail == one[-len(tail) :] for one in parts) == 1))

    return [name(own) for own in parts]


def _entry(name: str, manifest: Manifest, most: int) -> Entry:
    if (manifest.path / RESULTS).exists():
        return _benchmark(name, manifest, most)
    entry = Entry(name, manifest, metrics={} if manifest.kind in COMPARISONS else _rates(manifest.metrics))
    path = manifest.path / "debug" / f"{manifest.kind}_{manifest.data['run_id']}.csv"
    if path.exists() and _is_evaluation(path):
        rows = read_csv(path)
        entry.headline = ["accuracy"]
        ids = digest(sorted([row["id"], row["question"], row["labeled_answer"]] for row in rows))
        entry.test = f"{len(rows)} problems {ids[:6]}"
        entry.means = {
            ("", row["id"]): {m: float(row[column] == "True") for m, column in _EVALUATED.items()}
            for row in rows
            if row.get("verdict") != Status.GOLD_INVALID
        }
        entry.n_rows = len(rows)
        entry.examples = [
            evaluated(row) | {"name": _name("", row["id"], i)} for i, row in enumerate(rows[:most], start=1)
        ]
        for row in rows:
            outcome = _outcome(row)
            entry.outcomes[outcome] = entry.outcomes.get(outcome, 0) + 1
        counted = [int(row["n_tokens"]) for row in rows if row.get("n_tokens")]
        entry.effort = {"responses": len(rows), **_counted("tokens_out", counted, len(rows))}
    return entry


def _counted(name: str, counts: Sequence[int], n_replies: int) -> dict[str, int | None]:
    """The tokens of the replies that were counted; None where none was, and how many were not."""
    missing = {"without_counts": n_replies - len(counts)} if len(counts) < n_replies else {}
    return {name: sum(counts) if counts else None, **missing}


def _is_evaluation(path: Path) -> bool:
    """Whether a per-example CSV is that of an evaluation; other stages have columns of their own."""
    with path.open(encoding="utf-8", newline="") as file:
        return {"id", *_EVALUATED.values()} <= set(next(csv.reader(file), []))


def _rates(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    rate = {"estimate", "low", "high", "n"}
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, Mapping) and rate <= set(value) and not name.startswith("before_")
    }


def _benchmark(name: str, manifest: Manifest, most: int) -> Entry:
    side = read_side(manifest.path)
    results = side.results
    graded = side.graded or []
    effort = {**results.get("effort", {}), "judge_spent": results.get("judge", {}).get("effort", {}).get("spent")}
    first = [g for g in graded if g.response.sample == 0]
    if answers := [g.response for g in graded if g.response.error is None]:
        for way in ("tokens_in", "tokens_out"):
            counts = [n for answer in answers if (n := getattr(answer, way)) is not None]
            effort |= _counted(way, counts, len(answers))
    return Entry(
        name,
        manifest,
        metrics={n: v for e in results["evaluations"].values() for n, v in e["intervals"].items()},
        headline=list(results["headline"].values()),
        outcomes=dict(results["outcomes"]),
        effort=effort,
        examples=[_graded(g, i) for i, g in enumerate(first[:most], start=1)],
        n_rows=len(first),
        means=item_means(graded),
        model=side.name,
        test=f"{results['suite']} {digest(results['hashes']['data'])[:6]}",
    )


_HASH = re.compile(r"[0-9a-f]{12,}")


def _name(task: str, own: str, number: int) -> str:
    """What a person calls a question: its id, or where that is a hash, its number in the test set."""
    return "/".join(filter(None, (task, f"question {number}" if _HASH.fullmatch(own) else own)))


def _graded(g: Graded, number: int) -> dict[str, Any]:
    return {
        "key": f"{g.item.task}/{g.item.id}",
        "name": _name(g.item.task, g.item.id, number),
        "kind": g.item.kind,
        "question": cut(g.item.question),
        "gold": g.item.answer or g.item.label or "",
        "answer": cut(g.answer or ""),
        "text": cut(g.response.text or g.response.message or ""),
        "outcome": g.outcome,
        "good": is_good(g.values),
        "truncated": g.response.finish_reason == "length",
        "values": g.values,
    }


def is_good(values: Mapping[str, float | None]) -> bool:
    """Whether a sample is as good as can be on every metric that has a direction and decides for its kind."""
    found = [(m, values[m.name]) for m in ALL if m.decides and values.get(m.name) is not None]
    return all(value != metric.worst for metric, value in found)


def _outcome(row: Mapping[str, str]) -> str:
    if row.get("verdict") == Status.GOLD_INVALID:
        return Status.GOLD_INVALID.value
    if row["lenient_correct"] == "True":
        return "correct"
    return (
        "truncated" if row.get("finish_reason") == "length" else "wrong" if row.get("lenient_answer") else "no_answer"
    )


def evaluated(row: Mapping[str, str], whole: bool = False) -> dict[str, Any]:
    """A row of an evaluation's CSV as a page shows it; `whole` without cutting its texts."""
    short = str if whole else cut
    return {
        "key": "/" + row["id"],
        "kind": "math",
        "question": short(row["question"]),
        "gold": row["labeled_answer"],
        "answer": short(row["extracted_answer"] or row["lenient_answer"]),
        "text": short(row["generated_text"]),
        "outcome": _outcome(row),
        "good": row["correct"] == "True",
        "truncated": row.get("finish_reason") == "length",
        "values": {name: float(row[column] == "True") for name, column in _EVALUATED.items()},
    }


def cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}\n[... {len(text) - LONGEST_TEXT} more characters in the run directory]"
