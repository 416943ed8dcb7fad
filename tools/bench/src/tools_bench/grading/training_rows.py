"""Whether the training data holds the items of a suite: found by `tools-dedup`, in a process of its own.

What is compared is the text of each training row (its question, or all of its turns) with the question of each item,
exactly, by containment and by words. The two tools share nothing but their command lines and files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools_bench.grading.contamination import contaminated_questions, is_matches
from tools_bench.requests.item import Item
from tools_shared.errors import ToolError, UnusableError
from tools_shared.models import resolve
from tools_shared.records import Row
from tools_shared.runs.lineage import trained_on
from tools_shared.sources import problem_from, read_rows

LINEAGE = "lineage"
METHOD = ("--text-key", "question", "--method", "exact", "--method", "lexical")


def training_data(given: str, model: str | None) -> list[str]:
    """The sources that --train-data names: itself, or those of the model's run and all runs before it.

    Raises ToolError for `lineage` without a model that a run of ours trained, or whose training data is not known.
    """
    if given != LINEAGE:
        return [given]
    ref = None if model is None else resolve(model)
    if ref is None or ref.run is None:
        raise ToolError(f"--train-data {LINEAGE}: is for --model with a run directory; name the training rows instead")
    found = trained_on(ref.run.data["inputs"])
    if not found:
        raise ToolError(f"--train-data {LINEAGE}: {model} names no training data; name the training rows instead")
    return found


def known_questions(sources: Sequence[str], items: Sequence[Item]) -> set[str]:
    """The items' questions that the training data holds, whitespace and case aside: by the matches of a run of
    tools-dedup where these are named, else by running it. Raises ToolError when that cannot be done."""
    known: set[str] = set()
    for source in sources:
        known |= contaminated_questions(source) if is_matches(source) else _found_by_dedup(source, items)
    return known


def _found_by_dedup(source: str, items: Sequence[Item]) -> set[str]:
    command = shutil.which("tools-dedup", path=str(Path(sys.executable).parent)) or shutil.which("tools-dedup")
    if command is None:
        raise ToolError(
            "--train-data with training rows is checked by tools-dedup, which is not installed: pip install "
            "tools-dedup, or name the OUTPUT.matches.jsonl of a run of it"
        )
    with tempfile.TemporaryDirectory(prefix="tools-bench-") as folder:
        train, test, kept = (Path(folder) / name for name in ("train.jsonl", "test.jsonl", "kept.jsonl"))
        _write(train, _texts(source))
        _write(test, dict.fromkeys(item.question for item in items))
        words = [command, "run", "--data", train, "--test-data", f"suite={test}", "--output-path", kept, *METHOD]
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ToolError(f"--train-data {source}: tools-dedup failed: {last}")
        return contaminated_questions(str(kept.with_name("kept.matches.jsonl")))


def _texts(source: str) -> Iterator[str]:
    """What of each training row could hold an item: its question, else all that it says."""
    n_rows = 0
    for row in read_rows(source):
        if isinstance(row, Row) and (text := _text(row)):
            n_rows += 1
            yield text
    if not n_rows:
        raise ToolError(f"--train-data {source}: no training row in it")


def _text(row: Row) -> str:
    try:
        problem = problem_from(row)
    except UnusableError:
        return "\n".join(_strings(row.data))
    return problem.question


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)


def _write(path: Path, questions: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"question": question}, ensure_ascii=False) + "\n" for question in questions)


def status(items: Sequence[Item], held: Sequence[Sequence[str]] | None) -> dict[str, dict[str, Any]]:
    """For each task whether it is clean: `clean`, `removed` with how many items, or `not checked` (`held` is None)."""
    found: dict[str, dict[str, Any]] = {}
    for task in dict.fromkeys(item.task for item in items):
        if held is None:
            found[task] = {"status": "not checked"}
            continue
        n = sum(key[0] == task for key in held)
        found[task] = {"status": "removed" if n else "clean", "removed": n}
    return found
