"""The harness's verdicts beside ours, reply by reply, and why each that differs does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools_bench.grading.grade import Graded
from tools_bench.grading.results import as_json, rate
from tools_bench.logs.entry import LoggedReply
from tools_bench.requests.journal import DrawKey

OURS = {"math": "accuracy_lenient", "match": "match"}


def beside(graded: Sequence[Graded], logged: Mapping[DrawKey, LoggedReply]) -> tuple[dict[str, Any], list[dict]]:
    """For each task and metric of the harness its rate, ours over the same replies, and how often both agree; and a row
    for each reply on which they differ. Values other than 0 and 1 have a mean, and are not set against ours."""
    table: dict[str, dict[str, Any]] = {}
    rows: list[dict] = []
    pairs: dict[tuple[str, str], list[tuple[Graded, LoggedReply, float]]] = {}
    for one in graded:
        reply = logged[one.response.key]
        for name, value in reply.verdicts.items():
            pairs.setdefault((one.item.task, name), []).append((one, reply, value))
    for (task, name), found in pairs.items():
        entry: dict[str, Any] = {"theirs": as_json(rate([(g.item.key, value) for g, _, value in found]))}
        judged = [(g, r, v, ours) for g, r, v in found if (ours := g.values.get(OURS[g.item.kind])) is not None]
        if judged and all(value in (0, 1) for _, _, value, _ in judged):
            entry["ours"] = as_json(rate([(g.item.key, ours) for g, _, _, ours in judged]))
            entry["replies"] = len(judged)
            entry["both_right"] = sum(v == 1 and o == 1 for _, _, v, o in judged)
            entry["only_theirs"] = sum(v == 1 and o == 0 for _, _, v, o in judged)
            entry["only_ours"] = sum(v == 0 and o == 1 for _, _, v, o in judged)
            entry["both_wrong"] = sum(v == 0 and o == 0 for _, _, v, o in judged)
            rows += [_difference(name, g, r, v, o) for g, r, v, o in judged if v != o]
        table.setdefault(task, {})[name] = entry
    return table, rows


def _difference(name: str, graded: Graded, reply: LoggedReply, theirs: float, ours: float) -> dict[str, Any]:
    extracted = reply.extracted.get(name)
    return {
        "task": graded.item.task,
        "id": graded.item.id,
        "sample": graded.response.sample,
        "metric": name,
        "theirs": theirs,
        "ours": ours,
        "why": _why(extracted, graded.answer, theirs),
        "extracted_theirs": extracted,
        "extracted_ours": graded.answer,
        "gold": list(reply.accepted),
        "question": graded.item.question,
        "text": graded.response.text,
    }


def _why(theirs: str | None, ours: str | None, verdict: float) -> str:
    if theirs is None:
        return "the log does not hold the answer that the harness took"
    if ours is None:
        return "our grader finds no final answer in the reply"
    if theirs.strip() in ("", "[invalid]"):
        return "the harness's filter finds no answer in the reply"
    if theirs.strip() == ours.strip():
        return "the same answer, compared in another way: " + (
            "equal for them only" if verdict else "equal for us only"
        )
    return "another answer is taken for the final one"


def as_lines(table: Mapping[str, Any]) -> list[str]:
    """The table in words, a line for each metric."""
    lines = []
    for task, metrics in table.items():
        for name, entry in metrics.items():
            theirs = f"{task} {name}: theirs {100 * entry['theirs']['estimate']:.1f} % ({entry['theirs']['n']} items)"
            if "ours" not in entry:
                lines.append(f"{theirs}; not 0 or 1, not compared with ours")
                continue
            lines.append(
                f"{theirs}, ours {100 * entry['ours']['estimate']:.1f} %; agree on "
                f"{entry['both_right'] + entry['both_wrong']} of {entry['replies']}, "
                f"right for them only {entry['only_theirs']}, for us only {entry['only_ours']}"
            )
    return lines
