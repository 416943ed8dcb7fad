"""The items of a benchmark, whatever file they come from, and what is asked of the model about each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tools_bench.requests.choices import LETTERS, asked, options_of, permuted
from tools_bench.requests.instructions import instructions_of
from tools_bench.requests.item import Item
from tools_bench.requests.programs import asked_for, tests_of
from tools_bench.requests.suite import MODES, Task
from tools_shared.errors import ToolError, UnusableError
from tools_shared.judging import load_rubric
from tools_shared.prompts import Profile, question_messages
from tools_shared.records import Message, Problem, Rejected, Row
from tools_shared.sandbox import check_sandbox
from tools_shared.sources import as_list, id_of, lookup, read_problems, read_rows, split_gsm8k, unique_id
from tools_shared.sources.allowance import unreadable

QUESTIONS = ("question", "prompt", "Question", "problem", "Problem", "query", "instruction", "goal")
LEFT_OUT = "left out by the suite"
LABELS = {"safe": "safe", "unsafe": "unsafe", "answer": "safe", "refuse": "unsafe"}
ANSWERS = ("answers", "answer", "Answer", "accepted", "target")
GROUPS = (
    "topic_tags", "grade", "grade_band", "subject", "level", "type", "mode", "category", "perturbation_type", "domain",
    "High-level domain",
)  # fmt: skip

TUTOR_SYSTEM = {
    "hint": "You are a patient mathematics tutor for grade {grade}. Give the student one hint that helps with the next "
    "step. Do not state the final answer. Use words that fit the grade.",
    "check_step": "You are a patient mathematics tutor for grade {grade}. Look at the student's work, say what is "
    "right and ask about the first step that is not. Do not state the final answer. Use words that fit the grade.",
    "explain": "You are a patient mathematics tutor for grade {grade}. Explain how to solve the problem, step by step, "
    "in words that fit the grade.",
}


@dataclass(frozen=True)
class ReadTask:
    """A task with its items, the rows that could not be used, and those whose gold answer cannot be read."""

    task: Task
    items: list[Item]
    rejected: list[Rejected]
    unreadable: list[Rejected] = field(default_factory=list)
    n_left_out: int = 0


def read_task(task: Task, limit: int | None = None, seed: int = 0) -> ReadTask:
    """Read a task's items; `limit` is how many at most, `seed` decides the order of options.

    Raises ToolError when there is none that can be used."""
    most = min(filter(None, (limit, task.limit)), default=None)
    if task.kind == "math":
        return _read_math(task, most)
    if task.kind == "code":
        check_sandbox()
    items = []
    n_left_out = 0
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for row in read_rows(task.location()):
        if isinstance(row, Row) and _is_left_out(task, row.data):
            n_left_out += 1
            continue
        made = row if isinstance(row, Rejected) else _guidance(task, row)
        if isinstance(made, Rejected):
            rejected.append(made)
            continue
        items.append(_in_order(replace(made, id=unique_id(made.id, seen)), seed))
        if len(items) == most:
            break
    if not items:
        first = f"; first: line {rejected[0].origin.line}: {rejected[0].reason}" if rejected else ""
        raise ToolError(f"{task.source}: no row that task '{task.name}' ({task.kind}) can use{first}")
    return ReadTask(task, items, rejected, n_left_out=n_left_out)


def _read_math(task: Task, most: int | None) -> ReadTask:
    def check(problem: Problem) -> None:
        if _is_left_out(task, problem.row):
            raise UnusableError(LEFT_OUT)

    keys = {"question_key": task.question_key, "answer_key": task.answer_key}
    found = read_problems(task.location(), **keys, limit=most, check=check)
    items = [_math(task, problem) for problem in found.items]
    rejected = [row for row in found.rejected if row.reason != LEFT_OUT]
    return ReadTask(task, items, rejected, unreadable(found.items), len(found.rejected) - len(rejected))


def _is_left_out(task: Task, data: Mapping[str, Any]) -> bool:
    """Whether a field has a value that the suite leaves out; case, spaces and underscores aside."""

    def word(value: Any) -> str:
        return str(value).replace("_", " ").strip().casefold()

    return any(word(data.get(key)) == word(value) for key, value in task.leave_out.items())


def _math(task: Task, problem: Problem) -> Item:
    return Item(
        task.name,
        "math",
        problem.id,
        problem.question,
        problem.answer,
        problem.reasoning,
        grade=grade_of(problem.extra.get("grade")),
        groups=_groups(problem.extra),
    )


def _guidance(task: Task, row: Row) -> Item | Rejected:
    data = row.data
    known = next((name for name in QUESTIONS if isinstance(data.get(name), str)), "prompt")
    question = _value(data, task.question_key or known)
    if not isinstance(question, str) or not question.strip():
        return _rejected(row, 'no "question" or "prompt"')
    name = id_of(row, question)
    if task.kind == "match":
        accepted = _accepted(data, task.answer_key)
        if not accepted:
            return _rejected(row, "no text to match; pass --answer-key or fix the row")
        return Item(task.name, "match", name, question, accepted[0], groups=_groups(data), accepted=accepted)
    if task.kind == "code":
        try:
            return Item(task.name, "code", name, question, groups=_groups(data), tests=tests_of(data))
        except UnusableError as error:
            return _rejected(row, str(error))
    if task.kind in ("choice", "instructions"):
        try:
            return (
                _choice(task, row, name, question)
                if task.kind == "choice"
                else _instructions(task, row, name, question)
            )
        except ValueError as error:
            return _rejected(row, str(error))
    if task.kind == "safety":
        label = LABELS.get(str(data.get("label", data.get("expected", ""))).strip().lower())
        if label is None:
            return _rejected(row, f'"label" must be one of {", ".join(LABELS)}')
        return Item(task.name, "safety", name, question, label=label, groups=_groups(data))
    if task.rubric is not None:
        return _judged(task, row, name, question)
    mode = _optional(data.get("mode")) or task.mode
    if mode not in MODES:
        return _rejected(row, f'"mode" must be one of {", ".join(MODES)}, got "{mode}"')
    given = (_optional(_value(data, task.answer_key or "answer")) or "").strip()
    reasoning, answer = split_gsm8k(given) or ("", given)
    attempt = _optional(data.get("attempt"))
    grade = grade_of(data.get("grade")) or task.grade
    return Item(
        task.name, "tutor", name, question, answer or None, reasoning, None, mode, grade, attempt,
        _groups({**data, "mode": mode, "grade": grade}),
    )  # fmt: skip


def _choice(task: Task, row: Row, name: str, question: str) -> Item:
    """In the order of the row; raises ValueError for options that cannot be used."""
    texts, right = options_of(row.data, task.answer_key)
    groups = _groups(row.data)
    return Item(task.name, "choice", name, question, LETTERS[right], groups=groups, options=tuple(texts))


def _in_order(item: Item, seed: int) -> Item:
    """With its options in the order in which they are shown, where it has any."""
    if not item.options:
        return item
    given = list(item.options), LETTERS.index(item.answer or "A")
    texts, right = permuted(given, seed, f"{item.task}/{item.id}")
    where = {**item.groups, "right_option": [LETTERS[right]]}
    kept = texts is given[0]  # a permutation may leave all where they are
    return replace(item, options=tuple(texts), answer=LETTERS[right], groups=where, permuted=not kept)


def _instructions(task: Task, row: Row, name: str, question: str) -> Item:
    found = instructions_of(row.data)
    groups = {**_groups(row.data), "instruction": list(dict.fromkeys(one["id"] for one in found))}
    return Item(task.name, "instructions", name, question, groups=groups, instructions=found)


def _judged(task: Task, row: Row, name: str, question: str) -> Item | Rejected:
    rubric = load_rubric(Path(task.rubric or ""))
    if missing := next((column for column in rubric.columns if row.data.get(column) is None), None):
        return _rejected(row, f"no column \"{missing}\", which the rubric '{rubric.name}' wants")
    shown = {column: row.data[column] for column in rubric.columns}
    return Item(task.name, "judged", name, question, groups=_groups(row.data), shown=shown, rubric=rubric.sha256)


def _accepted(data: Mapping[str, Any], key: str | None) -> tuple[str, ...]:
    """The texts of which one is enough: a text or a number, or a list of them."""
    given = next((v for name in ([key] if key else ANSWERS) if (v := _value(data, name)) is not None), None)
    texts = [str(v) for v in (as_list(given) or [given]) if isinstance(v, str | int | float)]
    return tuple(text for text in texts if text.strip())


def _rejected(row: Row, reason: str) -> Rejected:
    return Rejected(row.origin, reason, raw_of(row))


def raw_of(row: Row) -> str:
    """The beginning of a row as JSON, as rejected rows show it."""
    return json.dumps(dict(row.data), ensure_ascii=False, default=str)[:200]


def _value(data: Mapping[str, Any], key: str) -> Any:
    try:
        return lookup(data, key)
    except KeyError:
        return None


def _optional(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value)


def grade_of(value: Any) -> str | None:
    """A row's grade, None where it has none. A table with gaps holds whole numbers as 5.0."""
    return _optional(int(value) if isinstance(value, float) and value.is_integer() else value)


def _groups(data: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {name: data[name] for name in GROUPS if data.get(name) not in (None, "", [])}
    return {name: [str(v) for v in (as_list(value) or [value])] for name, value in found.items()}


def messages_of(item: Item, profile: Profile) -> list[Message]:
    """What a model that takes messages is asked."""
    if item.kind in ("math", "match"):
        return question_messages(profile, item.question)
    if item.kind == "choice":
        return question_messages(profile, asked(item.question, item.options))
    if item.kind == "code":
        return [Message("user", asked_for(item.question, item.tests))]
    if item.kind in ("safety", "judged", "instructions"):
        return [Message("user", item.question)]
    said = f"{item.question}\n\nMy work so far: {item.attempt}" if item.attempt else item.question
    return [Message("system", TUTOR_SYSTEM[item.mode or "hint"].format(grade=item.grade)), Message("user", said)]
