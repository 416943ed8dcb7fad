"""`--data`: data of a user's own, in the place of a suite's or as the whole benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tools_bench.requests.choices import has_options
from tools_bench.requests.instructions import IDS
from tools_bench.requests.items import ANSWERS, LABELS
from tools_bench.requests.programs import has_tests
from tools_bench.requests.suite import KINDS, MODES, Suite, Task
from tools_shared.config import nearest
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.records import Row
from tools_shared.sources import as_list, read_rows

_NAMED = re.compile(r"([\w.+-]+)=(.+)", re.DOTALL)
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[\s,.'’&-]+[^\W\d_]+)*\.?")
LOOKED_AT = 20
"""Rows that are looked at to tell what kind of data a file holds."""


def suite_of_datasets(given: Sequence[str]) -> Suite:
    """The suite that `--data` alone make: a task a file, its kind named (`match=x.jsonl`) or told from its rows."""
    tasks: list[Task] = []
    for name, path in _given(given):
        kind = name or _kind_of(path)
        if not name:
            say(f"{path}: its rows are of kind {kind}; --data KIND={path} names another ({', '.join(KINDS)})")
        if kind not in KINDS:
            raise ToolError(
                f"--data {name}={path}: no kind of task is called '{name}'{nearest(kind, KINDS)}; write KIND=PATH "
                f"({', '.join(KINDS)}) or PATH, or name the --suite whose task it is"
            )
        stem = name or Path(path.split("?")[0]).stem or kind
        names = [task.name for task in tasks]
        tasks.append(Task(stem if stem not in names else f"{stem}-{len(tasks) + 1}", kind, path))
    return Suite("datasets", tuple(tasks))


def with_datasets(suite: Suite, given: Sequence[str]) -> Suite:
    """Replace sources by `NAME=PATH`, where the name is a task's or a kind's, or by PATH, whose kind its rows tell.
    Raises ToolError for a name unknown."""
    tasks = list(suite.tasks)
    for name, path in _given(given):
        wanted = name or _kind_of(path)
        chosen = [i for i, task in enumerate(tasks) if task.name == wanted]
        chosen = chosen or [i for i, task in enumerate(tasks) if task.kind == wanted]
        if not chosen and wanted not in KINDS:
            known = [word for task in tasks for word in (task.name, task.kind)]
            raise ToolError(f"--data {name}={path}: the suite has no task or kind '{name}'{nearest(wanted, known)}")
        if not chosen:
            tasks.append(Task(wanted, wanted, path))
            continue
        # A copy of the pinned file is the pinned file; the check stays off for data of the user's own.
        tasks[chosen[0]] = replace(tasks[chosen[0]], source=path, sha256=None, url=None, suite=None)
        for i in reversed(chosen[1:]):
            del tasks[i]
    return replace(suite, tasks=tuple(tasks))


def with_keys(suite: Suite, given: Sequence[str], question_key: str | None, answer_key: str | None) -> Suite:
    """The suite with `--question-key` and `--answer-key` on the tasks of `--data`; without any, on those that are
    answered in mathematics or text."""
    paths = {path for _, path in _given(given)}
    asked = {"question_key": question_key, "answer_key": answer_key}
    keys = {name: key for name, key in asked.items() if key is not None}
    chosen = [task.source in paths if paths else task.kind in ("math", "match", "choice") for task in suite.tasks]
    tasks = (replace(task, **keys) if mine else task for task, mine in zip(suite.tasks, chosen, strict=True))
    return replace(suite, tasks=tuple(tasks))


def _given(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(name, path) of each dataset; an empty name where none is given. Paths may have commas between them."""
    for word in words:
        named = _NAMED.fullmatch(word)
        if named and not Path(word).exists():
            yield named[1], named[2]
            continue
        whole = Path(word).exists() or "://" in word
        paths = [word] if whole else [part.strip() for part in word.split(",") if part.strip()]
        if not paths or word.endswith("="):
            raise ToolError(f"--data {word}: write PATH, or NAME=PATH such as math=test.jsonl")
        yield from (("", path) for path in paths)


def _kind_of(path: str) -> str:
    """The kind of most of the first rows: with tests code, with options choice, with instruction ids instructions,
    with a label safety, with a mode tutoring, else mathematics, or free text where most answers are words."""
    rows = [row.data for row in islice(read_rows(path), LOOKED_AT) if isinstance(row, Row)]
    if 2 * sum(map(has_tests, rows)) > len(rows):
        return "code"
    if 2 * sum(map(has_options, rows)) > len(rows):
        return "choice"
    if 2 * sum(IDS in data for data in rows) > len(rows):
        return "instructions"
    labels = [str(data.get("label", data.get("expected", ""))).strip().lower() in LABELS for data in rows]
    if 2 * sum(labels) > len(rows):
        return "safety"
    if 2 * sum(data.get("mode") in MODES for data in rows) > len(rows):
        return "tutor"
    return "match" if 2 * sum(map(_is_in_words, rows)) > len(rows) else "math"


def _is_in_words(data: Mapping[str, Any]) -> bool:
    """Whether the answer of a row is words of a language, or several that are right, and no mathematics."""
    given = next((data[name] for name in ANSWERS if data.get(name) is not None), None)
    answers = [a for a in (as_list(given) or [given]) if isinstance(a, str)]
    return bool(answers) and all(_WORDS.fullmatch(answer.strip()) for answer in answers)
