"""`report.html`: one file, no network, in which a person reviews what went and what nearly went.

The most doubtful removals are there whole, with their marks; of the next ones a line each, which the search finds too.
Both are bounded in number and bytes, so that a browser opens the page of a run of any size.

The data stand in it as JSON in which no `<` is left, and the page puts every text in place as text, never as markup.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from tools_dedup.lexical.words import marks
from tools_dedup.output import chart
from tools_dedup.output.paths import OutputPaths
from tools_shared.files import atomic_write, html
from tools_shared.sources import procedure_text

MOST_REMOVED = 2000
MOST_BRIEF = 40_000
MOST_BYTES = 16 << 20
"""Of the pairs that are shown whole; those that go over it are lines like the rest."""
MOST_REJECTED = 100
BRIEF_TEXT = 160
MOST_BORDERLINE = 100
LONGEST_TEXT = 4000
_EVIDENCE = ("train_id", "train_line", "train_path", "test_set", "test_line", "removed_by", "rule", "score", "rank",
             "cosine_similarity", "features", "kept_by_guard", "verdict", "repeats", "shared_numbers")  # fmt: skip


class Digest:
    """What the chart and the report need of the matches, taken as they pass by; its size does not grow with them.

    `band` is that of --review; without one the kept rows with the largest scores count as borderline.
    """

    def __init__(self, band: tuple[float, float] | None) -> None:
        self._band = band
        self._scores: list[float] = []
        self._removed: list[tuple[float, int, dict[str, Any]]] = []
        self._brief: list[tuple[float, int, dict[str, Any]]] = []
        self._near: list[tuple[float, int, dict[str, Any]]] = []
        self._n_removed = 0

    def add(self, match: dict[str, Any]) -> None:
        score = match["score"]
        if score is not None:
            self._scores.append(score)
        if match["removed_by"]:
            self._add_removed(match)
        elif score is not None and (self._band is None or self._band[0] <= score <= self._band[1]):
            entry = (score, -len(self._scores), match)
            if len(self._near) < MOST_BORDERLINE:
                heapq.heappush(self._near, entry)
            else:
                heapq.heappushpop(self._near, entry)

    def _add_removed(self, match: dict[str, Any]) -> None:
        """Those with the lowest scores, the doubtful ones, stay whole, the next ones as a line."""
        self._n_removed += 1
        entry = (-(match["score"] or 0.0), -self._n_removed, match)
        if len(self._removed) < MOST_REMOVED:
            heapq.heappush(self._removed, entry)
            return
        score, number, surest = heapq.heappushpop(self._removed, entry)
        line = (score, number, _brief(surest))
        if len(self._brief) < MOST_BRIEF:
            heapq.heappush(self._brief, line)
        else:
            heapq.heappushpop(self._brief, line)

    def write(
        self,
        drafts: OutputPaths,
        title: str,
        rules: Sequence[Mapping[str, Any]],
        metrics: Mapping[str, Any],
        warnings: Sequence[str] = (),
    ) -> list[str]:
        """Write the chart and the report; returns their names."""
        threshold = rules[0]["threshold"] if rules else None
        label = _label(rules[0]) if rules else "score"
        chart.draw(self._scores, threshold, label, drafts.chart)
        near = [_pair(match) for _, _, match in sorted(self._near, reverse=True)]
        whole, brief = self._shown()
        content = {
            "title": title,
            "score": label,
            "threshold": threshold,
            "metrics": dict(metrics),
            "warnings": list(warnings),
            "rules": [dict(rule) for rule in rules],
            "histogram": _histogram(self._scores, threshold),
            "rejected": _rejected(drafts.rejected),
            "n_left_out": self._n_removed - len(whole) - len(brief),
            "pairs": [*whole, *near],
            "brief": brief,
        }
        with atomic_write(drafts.report) as file:
            file.write(render(content))
        return ["chart", "report"]

    def _shown(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The removals that are shown whole, and those of a line, both the lowest score first."""
        whole, n_bytes = [], 0
        brief = [line for _, _, line in sorted(self._brief, key=lambda entry: entry[:2], reverse=True)]
        doubtful_first = sorted(self._removed, key=lambda entry: entry[:2], reverse=True)
        for place, (_, _, match) in enumerate(doubtful_first):
            pair = _pair(match)
            n_bytes += len(json.dumps(pair))
            if n_bytes > MOST_BYTES:
                return whole, [*(_brief(left) for _, _, left in doubtful_first[place:]), *brief]
            whole.append(pair)
        return whole, brief


def _brief(match: Mapping[str, Any]) -> dict[str, Any]:
    """A removal as a line: the beginnings of both texts."""
    train, test = _texts(match)
    kept = (
        "train_id",
        "train_line",
        "train_path",
        "test_set",
        "test_line",
        "removed_by",
        "score",
        "verdict",
        "repeats",
    )
    return {name: match.get(name) for name in kept} | {"train": train[:BRIEF_TEXT], "test": test[:BRIEF_TEXT]}


def _rejected(path: Path) -> list[dict[str, Any]]:
    """The first rows that could not be used, those of test sets before the others."""
    rows = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return sorted(rows, key=lambda row: row["set"] is None)[:MOST_REJECTED]


def _label(rule: Mapping[str, Any]) -> str:
    return "cosine similarity" if rule["score"] == "cosine" else f"{rule['score']} ({rule['method']})"


def render(content: Mapping[str, Any]) -> str:
    """The page with its data."""
    folder = files("tools_dedup.output")
    body, style, script = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return html.page("dedup report", body, style, script, content)


def _histogram(scores: Sequence[float], threshold: float | None, n_bins: int = 50) -> dict[str, Any]:
    low = min([0.0, *scores])
    counts = [0] * n_bins
    for score in scores:
        counts[min(n_bins - 1, int((score - low) / (1.0 - low) * n_bins))] += 1
    n_over = 0 if threshold is None else sum(score >= threshold for score in scores)
    return {"low": low, "high": 1.0, "counts": counts, "n_over": n_over}


def _pair(match: Mapping[str, Any]) -> dict[str, Any]:
    """Both texts with the places of their shared words, and the evidence."""
    train, test = _texts(match)
    shared, others = marks(train, test)
    pair = {name: match.get(name) for name in _EVIDENCE}
    return pair | {
        "train": train,
        "test": test,
        "train_marks": shared[0],
        "test_marks": shared[1],
        "train_others": others[0] if test else [],
        "test_others": others[1],
    }


def _texts(match: Mapping[str, Any]) -> tuple[str, str]:
    """The training text, or what of it stands in the test text, and the test text."""
    contained = match.get("contains")
    test = _text(match["nearest_test_goal"], match["nearest_test_steps"])
    if contained:
        return _text(" … ".join(contained["spans"]), []), test
    return _text(match["train_goal"], match["train_steps"]), test


def _text(goal: str | None, steps: Sequence[str] | None) -> str:
    text = procedure_text(goal or "", steps or [])
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"
