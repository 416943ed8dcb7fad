"""Rows as attempts at a question: the known fields, and what `tools-traces --emit graded` writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tools_scorer.traces.stepwise import LabelledSteps, is_stepwise, labelled_steps
from tools_shared.answers import answer_anywhere, gold_answer
from tools_shared.errors import UnusableError
from tools_shared.prompts import Profile
from tools_shared.records import Origin, Rejected, Row, text_id
from tools_shared.sources import lookup


@dataclass(frozen=True)
class AttemptKeys:
    """Under which dotted keys a row holds what. Each of `response` makes an attempt of its own."""

    question: str = "question"
    response: tuple[str, ...] = ("response",)
    ground_truth: str = "ground_truth"
    answer: str = "extracted_answer"


@dataclass(frozen=True)
class TraceAttempt:
    """One response to a question, not yet taken apart.

    `answer` is None when the row says that there is none; `token_ids` are the response's, as they were sampled,
    without an opening tag that the prompt wrote; `steps` are those of process-reward data.
    """

    question: str
    response: str
    ground_truth: str | None
    answer: str | None
    question_id: str
    name: str
    token_ids: tuple[int, ...] | None
    mean_logprob: float | None
    origin: Origin
    steps: LabelledSteps | None = None


def read_attempts(
    rows: Iterable[Row | Rejected], keys: AttemptKeys, profile: Profile, labelled: bool
) -> Iterator[TraceAttempt | Rejected]:
    """Attempts in the order of the rows. `labelled`: a row without a ground truth is rejected."""
    for row in rows:
        if isinstance(row, Rejected):
            yield row
            continue
        stepwise = is_stepwise(row.data)
        for key in ("completions",) if stepwise else keys.response:
            try:
                yield _stepwise(row) if stepwise else _attempt(row, key, keys, profile, labelled)
            except UnusableError as error:
                raw = json.dumps(row.data, ensure_ascii=False, default=str)[:200]
                yield Rejected(row.origin, str(error), raw)


def _stepwise(row: Row) -> TraceAttempt:
    found = labelled_steps(row.data)
    question_id = str(row.data.get("question_id") or text_id(found.question))
    text = "\n".join(found.steps)
    return TraceAttempt(
        found.question, text, None, None, question_id, _name(row.data, ""), None, None, row.origin, found
    )


def _attempt(row: Row, key: str, keys: AttemptKeys, profile: Profile, labelled: bool) -> TraceAttempt:
    data = row.data
    if data.get("source") == "original":
        raise UnusableError("the data's own solution, not a trace of a model")
    question, response = _text(data, keys.question, "--question-key"), _text(data, key, "--response-key")
    gold = _ground_truth(data, keys.ground_truth, profile)
    if gold is None and labelled:
        raise UnusableError(
            f"no '{keys.ground_truth}' (--ground-truth-key names another field, with --no-labelled a row needs none)"
        )
    return TraceAttempt(
        question=question,
        response=response,
        ground_truth=gold,
        answer=_given(data, keys.answer, response, profile, alone=len(keys.response) == 1),
        # Not the row's "id": where each attempt has its own, no two would be of one question.
        question_id=str(data.get("question_id") or text_id(question)),
        name=_name(data, key if len(keys.response) > 1 else ""),
        token_ids=_token_ids(data),
        mean_logprob=_mean_logprob(data),
        origin=row.origin,
    )


def _name(data: Any, key: str) -> str:
    """What tells an attempt from the others at its question."""
    given = next((data[name] for name in ("attempt", "trace_id", "id") if data.get(name) is not None), None)
    return "/".join(str(part) for part in (given, key) if part not in (None, ""))


def _text(data: Any, key: str, flag: str) -> str:
    try:
        value = lookup(data, key)
    except KeyError:
        raise UnusableError(f"no '{key}' in this row; {flag} names another field") from None
    if not isinstance(value, str) or not value.strip():
        raise UnusableError(f"'{key}' is {type(value).__name__ if not isinstance(value, str) else 'empty'}, not text")
    return value


def _ground_truth(data: Any, key: str, profile: Profile) -> str | None:
    """The final answer, out of a worked solution where the row holds one."""
    try:
        value = lookup(data, key)
    except KeyError:
        return None
    if value is None or not str(value).strip():
        return None
    text = str(value).strip()
    if "\n" not in text:
        return gold_answer(text) or text
    return gold_answer(text) or answer_anywhere(text, profile).answer


def _given(data: Any, key: str, response: str, profile: Profile, alone: bool) -> str | None:
    """The row's extracted answer; found in the response where the row has no such field, or has several responses."""
    if alone:
        try:
            value = lookup(data, key)
            return None if value is None else str(value)
        except KeyError:
            pass
    return answer_anywhere(response, profile, opened=profile.closes_unopened(response)).answer


def _token_ids(data: Any) -> tuple[int, ...] | None:
    found = data.get("token_ids")
    if found is None:
        return None
    if not isinstance(found, list) or not all(type(token) is int and token >= 0 for token in found):
        raise UnusableError("'token_ids' is not a list of token numbers")
    return tuple(found)


def _mean_logprob(data: Any) -> float | None:
    found: Sequence[float] | float | None = data.get("mean_logprob", data.get("logprobs"))
    if isinstance(found, list):
        found = sum(found) / len(found) if found and all(isinstance(p, int | float) for p in found) else None
    return float(found) if type(found) in (int, float) else None
