"""A run of `tools-bench evaluate` as a side of a comparison with runs of `tools-bench run`.

Both ask a problem in the same way, so they can be compared where the items and the prompts are alike. Items are paired
by question and gold answer, as the two number them apart; replies are graded again by the grader of benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import Side
from tools_bench.grading.grade import grade_all, grader_sha256
from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.config import digest
from tools_shared.errors import ToolError
from tools_shared.evaluation import read_csv
from tools_shared.prompts import Profile, load_profile, question_messages
from tools_shared.runs import check_unchanged, read_manifest

Words = tuple[str, str]


def read_evaluation(given: str, like: Side) -> Side:
    """An evaluation with the tasks and ids of the benchmark run `like`, on the problems that both have.

    Raises ToolError for what is no evaluated run, and where no problem is in both.
    """
    folder = Path(given)
    manifest = read_manifest(folder)
    path = folder / "debug" / f"{manifest.kind}_{manifest.data['run_id']}.csv"
    if not path.is_file():
        raise ToolError(
            f"{given}: this {manifest.kind} run was not evaluated (no {path.name}); run tools-bench evaluate"
        )
    check_unchanged(path)
    rows = {(row["question"].strip(), row["labeled_answer"].strip()): row for row in read_csv(path)}
    mine = [g.item for g in like.graded or [] if g.item.kind == "math" and g.response.sample == 0]
    both = [item for item in mine if _words(item) in rows]
    if not both:
        raise ToolError(f"{given} and {like.path} have no problem in common; there is nothing to compare")
    profile = _profile(str(manifest.data.get("profile")), like)
    responses = _responses(both, rows, profile)
    graded = grade_all(both, {response.key: response for response in responses}, profile)
    results = {
        "model_name": folder.resolve().name,
        "grader": grader_sha256(),
        "hashes": _hashes(both, mine, rows, profile, manifest.identity, like),
        "evaluations": {},
        "profile": profile.to_json(),
    }
    return Side(folder.resolve().name, path, results, graded)


def _words(item: Item) -> Words:
    return item.question.strip(), (item.answer or "").strip()


def _profile(name: str, like: Side) -> Profile:
    theirs = like.results["profile"]
    return Profile.from_json(theirs, str(like.path)) if theirs["name"] == name else load_profile(name)


def _responses(items: Sequence[Item], rows: Mapping[Words, Mapping[str, str]], profile: Profile) -> list[Response]:
    texts = [rows[_words(item)]["generated_text"] or "" for item in items]
    # One template rendered all prompts: where it opened the reasoning in one of them, it did so in all.
    opened = any(profile.closes_unopened(text) for text in texts)
    return [
        Response(item.task, item.id, 0, text, rows[_words(item)]["finish_reason"] or "stop", opens_thinking=opened)
        for item, text in zip(items, texts, strict=True)
    ]


def _hashes(
    both: Sequence[Item],
    mine: Sequence[Item],
    rows: Mapping[Words, Mapping[str, str]],
    profile: Profile,
    options: Mapping[str, Any],
    like: Side,
) -> dict[str, Any]:
    """As those of a benchmark run: alike where the tasks have the same problems, asked in the same way."""
    theirs = like.results["hashes"]
    tasks = list(dict.fromkeys(item.task for item in both))
    whole = {t: [i for i in both if i.task == t] == [i for i in mine if i.task == t] for t in tasks}
    n_more = len(rows) - len({_words(item) for item in both})
    asked = {
        task: digest(
            [[m.content for m in question_messages(profile, i.question)] for i in both if i.task == task] + ["messages"]
        )
        for task in tasks
    }
    return {
        "data": {
            task: theirs["data"][task] if whole[task] and not n_more else digest([task, n_more, len(both)])
            for task in tasks
        },
        "prompt": {task: asked[task] if whole[task] else theirs["prompt"][task] for task in tasks},
        "sampling": {
            "temperature": options.get("eval_temperature", 0.0),
            "top_p": 1.0,
            "max_new_tokens": options.get("eval_max_new_tokens", 512),
            "samples": 1,
        },
    }
