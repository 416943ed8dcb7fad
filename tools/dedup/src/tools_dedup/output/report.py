"""`report.html`: one file, no network, in which a person reviews what went and what nearly went.

The data stand in it as JSON in which no `<` is left, and the page puts every text in place as text, never as markup.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from tools_dedup.lexical.words import marks
from tools_dedup.output import chart
from tools_dedup.output.paths import OutputPaths
from tools_shared.files import atomic_write
from tools_shared.sources import procedure_text

MOST_REMOVED = 2000
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
        """Of more than can be shown, those with the lowest scores stay: the doubtful ones."""
        self._n_removed += 1
        entry = (-(match["score"] or 0.0), -self._n_removed, match)
        if len(self._removed) < MOST_REMOVED:
            heapq.heappush(self._removed, entry)
        else:
            heapq.heappushpop(self._removed, entry)

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
        removed = [match for _, _, match in sorted(self._removed, reverse=True, key=lambda entry: entry[1])]
        near = [match for _, _, match in sorted(self._near, reverse=True)]
        content = {
            "title": title,
            "score": label,
            "threshold": threshold,
            "metrics": dict(metrics),
            "warnings": list(warnings),
            "rules": [dict(rule) for rule in rules],
            "histogram": _histogram(self._scores),
            "n_left_out": self._n_removed - len(self._removed),
            "pairs": [_pair(match) for match in (*removed, *near)],
        }
        with atomic_write(drafts.report) as file:
            file.write(render(content))
        return ["chart", "report"]


def _label(rule: Mapping[str, Any]) -> str:
    return "cosine similarity" if rule["score"] == "cosine" else f"{rule['score']} ({rule['method']})"


def render(content: Mapping[str, Any]) -> str:
    """The page with its data. `<`, `>` and `&` are escaped in the JSON, so no text can end the script element."""
    data = json.dumps(content, ensure_ascii=True)
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    page = (files("tools_dedup.output") / "report.html").read_text(encoding="utf-8")
    return page.replace("/*DATA*/null", data)


def _histogram(scores: Sequence[float], n_bins: int = 50) -> dict[str, Any]:
    low = min([0.0, *scores])
    counts = [0] * n_bins
    for score in scores:
        counts[min(n_bins - 1, int((score - low) / (1.0 - low) * n_bins))] += 1
    return {"low": low, "high": 1.0, "counts": counts}


def _pair(match: Mapping[str, Any]) -> dict[str, Any]:
    """Both texts with the places of their shared words, and the evidence."""
    contained = match.get("contains")
    train = (
        _text(match["train_goal"], match["train_steps"]) if not contained else _text(" … ".join(contained["spans"]), [])
    )
    test = _text(match["nearest_test_goal"], match["nearest_test_steps"])
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


def _text(goal: str | None, steps: Sequence[str] | None) -> str:
    text = procedure_text(goal or "", steps or [])
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …"
