"""Rows with a question and an answer that can be checked, as problems."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tools_shared.errors import UnusableError
from tools_shared.prompts.blocks import BOXED, blocks, last_filled
from tools_shared.records import Problem, Row
from tools_shared.sources.conversations import turns_of
from tools_shared.sources.fields import lookup
from tools_shared.sources.shapes import field_of, id_of, text_of, with_input

QUESTION_KEYS = ("question", "problem", "Question", "Problem", "prompt", "query", "instruction", "messages", "goal")
ANSWER_KEYS = (
    "answer",
    "Answer",
    "final_answer",
    "ground_truth",
    "reward_model.ground_truth",
    "answer_number",
    "solution",
    "Solution",
)
"""Where a question and its answer stand by themselves, in order: the first one that a row has counts."""

REASONING_KEYS = ("reasoning", "solution", "Solution", "rationale", "cot")
MAX_PLAIN = 200
"""Most characters of an answer that carries no mark; what is longer, or has several lines, is a solution."""

_ANNOTATION = re.compile(r"<<[^<>\n]*>>")
NO_MARK = 'has no "#### N" line'
_REMEDY = "pass --answer-key or fix the row"


def split_gsm8k(text: str) -> tuple[str, str] | None:
    """GSM8K's answer as (reasoning, final answer), None when no line begins with `####`.

    The last such line counts. The reasoning loses its calculator annotations (`48/2 = <<48/2=24>>24` becomes
    `48/2 = 24`); the answer stays text (`1,000`). Layout: https://github.com/openai/grade-school-math
    """
    start = text.rfind("\n####") + 1
    if not text.startswith("####", start) or text.startswith("#####", start):
        return None
    return _ANNOTATION.sub("", text[:start]).strip(), text[start + 4 :].strip()


@dataclass(frozen=True, slots=True)
class FoundProblem:
    """A problem, and what its answer rests on: `marked` (`#### N`), `sure` (a box, a reasoning field, a named key), or
    `plain`, which counts where no row of the source is marked; `name` is the field it is from."""

    problem: Problem
    rests_on: Literal["marked", "sure", "plain"]
    name: str


def problem_from(row: Row, question_key: str | None = None, answer_key: str | None = None) -> Problem:
    """A row with a question and an answer as a problem; its id is the row's `id`, else a hash of the question.

    Without keys the first of QUESTION_KEYS and of ANSWER_KEYS that the row has; a list of messages is a question when
    it has one turn of the user, a system turn is left out. The answer carries GSM8K's `####` line, is the last box of a
    `solution`, or is the final answer itself. Raises UnusableError.
    """
    return find_problem(row, question_key, answer_key).problem


def find_problem(
    row: Row, question_key: str | None = None, answer_key: str | None = None, needs_answer: bool = True
) -> FoundProblem:
    """See `problem_from`. Without `needs_answer` a row of which no final answer can be made has an empty one."""
    question_name = question_key or _first(row.data, QUESTION_KEYS)
    question = question_of(row.data, question_name)
    answer_name = answer_key or _first(row.data, ANSWER_KEYS)
    reasoning_name = next((k for k in REASONING_KEYS if isinstance(row.data.get(k), str) and k != answer_name), None)
    vouched = answer_key is not None or reasoning_name is not None
    try:
        given = _answer_text(field_of(row.data, answer_name, "--answer-key"), answer_name)
        reasoning, answer, rests_on = _taken_apart(given, answer_name, vouched)
    except UnusableError:
        if needs_answer:
            raise
        reasoning, answer, rests_on = "", "", "sure"
    if reasoning_name and not reasoning:
        reasoning = row.data[reasoning_name].strip()
    used = {question_name.split(".")[0], answer_name.split(".")[0], "id", reasoning_name}
    extra = {k: v for k, v in row.data.items() if k not in used}
    problem = Problem(id_of(row, question), question, answer, reasoning, row.origin, extra, row.data)
    return FoundProblem(problem, rests_on, answer_name)


def question_of(data: Mapping[str, Any], key: str) -> str:
    """The question under a dotted key: text, or the one turn of the user in a list of messages; Alpaca's `input` is
    added to its `instruction`. Raises UnusableError."""
    value = field_of(data, key, "--question-key")
    if isinstance(value, list | tuple):
        asked = [turn.content for turn in turns_of(value, key) if turn.role != "system"]
        if len(asked) != 1:
            raise UnusableError(f'"{key}" has {len(asked)} turns; a problem is one question')
        return asked[0]
    question = text_of(value, key)
    return with_input(question, data) if key == "instruction" else question


def _first(data: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The first key with a value; the first of all where there is none, for the message."""
    for key in keys:
        try:
            if lookup(data, key) is not None:
                return key
        except KeyError:
            continue
    return keys[0]


def _answer_text(value: Any, name: str) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return text_of(str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value, name)


def _taken_apart(given: str, name: str, vouched: bool) -> tuple[str, str, Literal["marked", "sure", "plain"]]:
    """Reasoning, answer, and what the answer rests on."""
    if (parts := split_gsm8k(given)) is not None:
        reasoning, answer = parts
        if not answer:
            raise UnusableError(f'"{name}" has nothing after "####"; fix the row')
        if "\n" in answer:
            raise UnusableError(f'"{name}" has more text below its "#### N" line; fix the row')
        return reasoning, answer, "marked"
    if name.lower() == "solution" and (span := last_filled(given, [*blocks(given, *BOXED)])) is not None:
        return given.strip(), given[slice(*span)].strip(), "sure"
    answer = given.strip()
    if vouched:
        return "", answer, "sure"
    if "\n" in answer or len(answer) > MAX_PLAIN:
        raise UnusableError(f'"{name}" {NO_MARK} and is too long for a final answer; {_REMEDY}')
    return "", answer, "plain"


def unvouched(name: str) -> str:
    """Why a plain answer is rejected in a source whose other rows are marked."""
    return f'"{name}" {NO_MARK}, as other rows have; {_REMEDY}'
