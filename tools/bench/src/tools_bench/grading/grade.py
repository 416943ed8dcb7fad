"""From stored responses to values: what came of each sample, and what it is worth on every metric.

Grading reads the item and the stored response and nothing else, so it can be done again at any time with today's
grader (`tools-bench rescore`, and both sides of every comparison).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import tools_shared.answers
import tools_shared.prompts
from tools_bench.grading import choice, code, detectors, draws, free_text, instructions, metric, metrics, replies
from tools_bench.grading.free_text import candidates
from tools_bench.grading.metrics import METRICS, deciding, metric_of, values_of, values_of_failed
from tools_bench.grading.replies import MeasuredReply, visible
from tools_bench.requests.item import Item
from tools_bench.requests.journal import DrawKey, Response
from tools_shared.answers import Case, Judgement, Status, judge_many
from tools_shared.code import CodeVerdict
from tools_shared.console import progress
from tools_shared.prompts import Profile

AT_ONCE = 500
"""Replies that are graded together; the bar moves on after each such part."""

Values = dict[str, float | None]


@dataclass
class Graded:
    """One sample, judged. `outcome`: `correct`, `wrong`, `no_answer`, `truncated`, `empty`, `refusal`, `gold_invalid`,
    `error_*` for math and free text; `answered`, `empty`, `truncated`, `refusal`, `error_*` for the others.
    A value is None where the metric does not apply."""

    item: Item
    response: Response
    outcome: str
    answer: str | None = None
    values: Values = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        return self.response.error is None


def grade_all(items: Sequence[Item], responses: Mapping[DrawKey, Response], profile: Profile) -> list[Graded]:
    """Grade every sample of the items, in order; a sample without a stored response is left out."""
    n_draws = 1 + max((sample for _, _, sample in responses), default=0)
    pairs = [
        (item, responses[item.task, item.id, draw])
        for item in items
        for draw in range(n_draws)
        if (item.task, item.id, draw) in responses
    ]
    math = iter(_grade_math([p for p in pairs if p[0].kind == "math"], profile))
    ran = iter(code.run_programs([p for p in pairs if p[0].kind == "code"], profile))
    graded = [
        next(math)
        if item.kind == "math"
        else _program(item, r, next(ran))
        if item.kind == "code"
        else _grade_guidance(item, r, profile)
        for item, r in pairs
    ]
    if n_draws > 1:
        _add_of_many(graded)
    return graded


def _grade_math(pairs: Sequence[tuple[Item, Response]], profile: Profile) -> list[Graded]:
    cases = [Case(r.text, item.answer or "", r.opens_thinking, r.finish_reason == "length") for item, r in pairs]
    judged: list[Judgement] = []
    with progress(total=len(cases), label="grading", unit="reply") as bar:
        for start in range(0, len(cases), AT_ONCE):
            judged += judge_many(cases[start : start + AT_ONCE], profile)
            bar.update(min(AT_ONCE, len(cases) - start))
    return [_math(item, response, one) for (item, response), one in zip(pairs, judged, strict=True)]


def _math(item: Item, response: Response, judged: Judgement) -> Graded:
    if response.error is not None:
        failed = _failed(item, response)
        return replace(failed, values=_without_gold(failed.values)) if judged.gold_invalid else failed
    values = values_of(MeasuredReply(item, response, judged))
    if judged.gold_invalid:  # neither right nor wrong
        values = _without_gold(values)
    said = _outcome(response) if judged.outcome in ("no_answer", "wrong") else None
    return Graded(item, response, said or judged.outcome, judged.lenient.answer, values)


def _without_gold(values: Values) -> Values:
    return {name: value for name, value in values.items() if not metric_of(name).of_gold}


def _outcome(response: Response) -> str | None:
    """What can be said without looking at the answer. A refusal is one that the server tells of."""
    if response.refusal:
        return "refusal"
    if response.finish_reason == "length":  # also where all of it was reasoning, in a field of its own
        return "truncated"
    return "empty" if not response.text.strip() else None


def _failed(item: Item, response: Response) -> Graded:
    return Graded(item, response, f"error_{response.error}", None, values_of_failed(item))


def _grade_guidance(item: Item, response: Response, profile: Profile) -> Graded:
    if response.error is not None:
        return _failed(item, response)
    if item.kind in ("match", "choice"):
        return _answer(item, response, profile)
    reply = MeasuredReply(item, response)
    empty = not reply.text.strip() and not response.refusal
    values = values_of(reply)
    if empty:  # an empty reply gives nothing away, and helps nobody: it is the worst, as an error is
        values = {
            name: None if value is None else METRICS[name].worst if METRICS[name].on_error == "worst" else 0.0
            for name, value in values.items()
        }
    return Graded(item, response, _outcome(response) or ("empty" if empty else "answered"), None, values)


def _answer(item: Item, response: Response, profile: Profile) -> Graded:
    """Free text, or an option."""
    if item.kind == "choice":
        given = choice.chosen(item, response, profile)
    else:
        given = candidates(response.text, visible(response.text), profile, response.opens_thinking)
    values = values_of(MeasuredReply(item, response, given=given))
    said = None if response.scores else _outcome(response)
    right = values["match" if item.kind == "match" else "choice_accuracy"]
    outcome = "correct" if right else said or ("wrong" if given else "no_answer")
    return Graded(item, response, outcome, given[0] if given else None, values)


def _program(item: Item, response: Response, ran: CodeVerdict | None) -> Graded:
    if ran is None:
        return _failed(item, response)
    values = values_of(MeasuredReply(item, response, ran=ran))
    said = _outcome(response) or ("wrong" if ran.has_program else "no_answer")
    told = f"{ran.n_passed} of {ran.n_tests} tests passed" + (f"; {ran.reason}" if ran.reason else "")
    return Graded(item, response, "correct" if ran.passed else said, told, values)


def _add_of_many(graded: Sequence[Graded]) -> None:
    """Put pass@k and majority@k, which belong to an item and not to a sample, on its first sample."""
    by_item: dict[tuple[str, str], list[Graded]] = {}
    for one in graded:
        if one.item.kind in draws.PREFIXES and one.outcome != Status.GOLD_INVALID:
            by_item.setdefault(one.item.key, []).append(one)
    for mine in by_item.values():
        kind = mine[0].item.kind
        right = [one.values.get(deciding(kind)) == 1 for one in mine]
        mine[0].values |= draws.of_many(kind, [one.answer for one in mine], right)


def keep_metrics(graded: Sequence[Graded], chosen: Mapping[str, Sequence[str]]) -> None:
    """Drop the values of the metrics that a task's suite did not choose; a task that chose none keeps all."""
    for one in graded:
        if names := chosen.get(one.item.task):
            one.values = {name: value for name, value in one.values.items() if name in names}


def metric_names(graded: Sequence[Graded], kind: str) -> list[str]:
    """The metrics that apply to some sample of a kind, in their usual order."""
    found = {n for g in graded if g.item.kind == kind for n, v in g.values.items() if v is not None}
    order = list(METRICS)
    return sorted(found, key=lambda n: (order.index(n) if n in order else len(order), metric_of(n).name))


@cache
def grader_sha256() -> str:
    """Which grader this is: a hash of the code that judges."""
    rooms = (tools_shared.answers, tools_shared.prompts, detectors, instructions)
    folders = [Path(room.__file__).parent for room in rooms]
    files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    digest = hashlib.sha256()
    for path in [
        *files,
        *(Path(module.__file__) for module in (choice, code, draws, free_text, metric, metrics, replies)),
        Path(__file__),
    ]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
