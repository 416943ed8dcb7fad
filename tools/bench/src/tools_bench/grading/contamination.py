"""Accuracy on the items that the training data does not hold, by the matches of `tools-dedup run`.

A matches file has a line a training row with its nearest test row (`nearest_test_goal`) and why it was removed
(`removed_by`, null when it stays). Which training row is nearest to an item is not asked, so an item is contaminated
when any removed training row has it as its nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools_bench.grading.grade import Graded
from tools_bench.grading.results import summarize
from tools_shared.errors import ToolError
from tools_shared.records import Row
from tools_shared.sources import read_rows

REPETITION = "within"
"""Why a row is removed that repeats another training row: that is no contamination."""


def contaminated_questions(matches: str) -> set[str]:
    """The test texts that removed training rows match, whitespace and case aside. Raises ToolError for another file."""
    found, n_rows = set(), 0
    for row in read_rows(matches):
        if not isinstance(row, Row) or not {"nearest_test_goal", "removed_by"} <= row.data.keys():
            continue
        n_rows += 1
        if row.data["removed_by"] not in (None, REPETITION) and row.data["nearest_test_goal"]:
            found.add(normal(row.data["nearest_test_goal"]))
    if not n_rows:
        raise ToolError(f"--train-data {matches}: no matches in it; name the OUTPUT.matches.jsonl of tools-dedup run")
    return found


def is_matches(source: str) -> bool:
    """Whether a source is the matches of tools-dedup, and no training rows."""
    first = next((row for row in read_rows(source) if isinstance(row, Row)), None)
    return first is not None and {"nearest_test_goal", "removed_by"} <= first.data.keys()


def normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def clean_subset(graded: Sequence[Graded], known: set[str], matches: str, tells_format: bool) -> dict[str, Any]:
    """The results over the clean items, and how many are not; `known` are the contaminated questions of `matches`."""
    held = list(dict.fromkeys(g.item.key for g in graded if normal(g.item.question) in known))
    return {"matches": matches, **without(graded, held, tells_format)}


def without(graded: Sequence[Graded], held: Sequence[Sequence[str]], tells_format: bool) -> dict[str, Any]:
    """The results over the items but those that are `held`: (task, id) of each."""
    left_out = {tuple(key) for key in held}
    clean = [g for g in graded if g.item.key not in left_out]
    found = {"contaminated_items": len(left_out), "contaminated": [list(key) for key in held]}
    return found | (summarize(clean, tells_format) if clean else {"evaluations": {}})
