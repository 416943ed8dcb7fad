"""Replies that people have judged: what a judge is trained on and measured against.

| row | judged is |
| --- | --- |
| `{goal, steps, verdict}`, with what the rubric shows (`reference`) | the steps, one a line |
| `{prompt, response, verdict or score}`, and other names for the three | the response |
| `{messages, verdict}` | the last turn, the assistant's; the turns before it are the prompt |
| `{prompt, chosen, rejected}` | the two replies, in both orders (`pairwise` rubrics) |

A verdict is yes or no where the rubric has one criterion, or an object with a yes or no for each; columns with the
criteria's names do too. For a `score` it is a number on the scale, or a yes or no, which are its ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tools_shared.config import Config, option
from tools_shared.errors import ToolError, UnusableError
from tools_shared.judging.questions import LONGEST_REPLY, Question
from tools_shared.judging.rubric import Rubric
from tools_shared.judging.verdicts import WORDS, number
from tools_shared.records import Origin, Rejected, Row, text_id
from tools_shared.sources import as_list, id_of, lookup, read_rows, source_sha256, unique_id
from tools_shared.sources.collect import canonical
from tools_shared.sources.conversations import turns_of

PROMPTS = ("prompt", "question", "goal", "problem", "instruction", "query", "input", "conversation_history")
REPLIES = ("response", "reply", "completion", "output", "steps", "answer")
VERDICTS = ("verdict", "verdicts", "label", "labels", "annotation", "score", "rating", "is_correct", "final_label")
YES_OR_NO = {
    **WORDS,
    **{"1": True, "pass": True, "passed": True, "correct": True, "right": True, "good": True},
    **{"0": False, "fail": False, "failed": False, "incorrect": False, "wrong": False, "bad": False},
}
"""Words of labels for yes and no; others are named with `--yes`."""
FIRST_WINS = "first_wins"
"""What the yes/no of a pairwise judgement is called: the first of the two replies is the better."""


@dataclass(frozen=True)
class LabelConfig(Config):
    """Where the labelled replies are, and how their rows are read."""

    PANEL: ClassVar[str] = "Data"

    data: str | None = option(None, "Labelled replies: any source with rows of {prompt, response, verdict or score}.")
    prompt_key: str | None = option(None, "Field that holds the prompt. Default: prompt, question, goal ...")
    reply_key: str | None = option(None, "Field that holds the judged reply. Default: response, reply, steps ...")
    label_key: str | None = option(None, "Field that holds the people's verdict. Default: verdict, label, score ...")
    yes: tuple[str, ...] = option((), "A label that means yes; all others then mean no. Repeatable.")
    group_key: str | None = option(
        None, "Field whose equal values stay together in splits and intervals. Default: the prompt."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data is None:
            raise ToolError("--data is missing: name the labelled replies, such as labelled.jsonl")


@dataclass(frozen=True)
class Labelled:
    """One question for a judge with people's answer to it: `{criterion: bool}`, or `{"score": float}`. `reply` is the
    judged text, `group` what it shares with others."""

    id: str
    question: Question
    labels: Mapping[str, bool | float]
    reply: str
    group: str
    row: Mapping[str, Any]
    origin: Origin


@dataclass(frozen=True)
class LabelledRows:
    """What was read: `n_read` rows gave `items` (two a row for pairs) or are `rejected`."""

    items: list[Labelled]
    rejected: list[Rejected]
    n_read: int
    sha256: str


def read_labelled(spec: str, rubric: Rubric, config: LabelConfig) -> LabelledRows:
    """Labelled replies of any source, as the rubric's judge is asked about them.

    Raises ToolError for a source that cannot be opened, for one without a usable row, and for rubrics that show the
    column that holds the reply.
    """
    items: list[Labelled] = []
    rejected: list[Rejected] = []
    digest, n_read, seen = hashlib.sha256(), 0, set[str]()
    for found in read_rows(spec):
        n_read += 1
        digest.update(canonical(found))
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        try:
            made = list(_labelled(found, rubric, config, seen))
        except UnusableError as error:
            raw = json.dumps(dict(found.data), ensure_ascii=False, default=str)[:200]
            rejected.append(Rejected(found.origin, str(error), raw))
            continue
        items += made
    if not items:
        first = f"; the first: line {rejected[0].origin.line}: {rejected[0].reason}" if rejected else ""
        raise ToolError(f"{os.fspath(spec)}: no row with a reply and a verdict on it ({n_read} read{first})")
    return LabelledRows(items, rejected, n_read, source_sha256(spec) or digest.hexdigest())


def _labelled(row: Row, rubric: Rubric, config: LabelConfig, seen: set[str]) -> Iterator[Labelled]:
    data = row.data
    turns = data.get("messages") if config.prompt_key is None and rubric.kind != "pairwise" else None
    if isinstance(turns, list):
        prompt, reply, used = _conversation(turns)
    else:
        prompt, _ = _text(data, config.prompt_key, PROMPTS, "prompt", "--prompt-key")
        reply, used = (
            ("", "") if rubric.kind == "pairwise" else _text(data, config.reply_key, REPLIES, "reply", "--reply-key")
        )
    if used and used in rubric.show:
        raise ToolError(f'{rubric.name}: show names "{used}", the column with the judged reply; leave it out there')
    missing = next((name for name in rubric.columns if data.get(name) is None), None)
    if missing is not None:
        raise UnusableError(f"no column \"{missing}\", which the rubric '{rubric.name}' wants")
    shown = {"prompt": prompt, **{name: data.get(name) for name in rubric.show}}
    group = text_id(prompt) if config.group_key is None else str(_value(data, config.group_key, "--group-key"))
    name = unique_id(id_of(row, f"{prompt}\n{reply}"), seen)
    if rubric.kind == "pairwise":
        yield from _pair(row, shown, name, group)
        return
    question = Question({**shown, "reply": reply[:LONGEST_REPLY]}, rubric.criteria)
    yield Labelled(name, question, _labels(data, rubric, config.label_key, config.yes), reply, group, data, row.origin)


def _pair(row: Row, shown: Mapping[str, Any], name: str, group: str) -> Iterator[Labelled]:
    better, worse = (_text(row.data, None, (key,), key, "")[0][:LONGEST_REPLY] for key in ("chosen", "rejected"))
    for first, second, wins in ((better, worse, True), (worse, better, False)):
        question = Question({**shown, "reply A": first, "reply B": second})
        yield Labelled(
            f"{name}-{'AB' if wins else 'BA'}", question, {FIRST_WINS: wins}, first, group, row.data, row.origin
        )


def _conversation(turns: Sequence[Any]) -> tuple[str, str, str]:
    messages = turns_of(list(turns), "messages")
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise UnusableError('the last of "messages" is not the assistant\'s reply to another')
    return _lines(messages[:-1]), messages[-1].content, "messages"


def _lines(messages: Sequence[Any]) -> str:
    if len(messages) == 1:
        return str(messages[0].content)
    return "\n".join(f"{m.role}: {m.content}" for m in messages)


def _text(data: Mapping[str, Any], key: str | None, names: Sequence[str], what: str, flag: str) -> tuple[str, str]:
    """The text under `key`, or the first of `names` that a row has, with its name; lists are lines or turns."""
    name = key or next((n for n in names if data.get(n) is not None), None)
    if name is None:
        raise UnusableError(f"no {what}: no column {', '.join(names[:3])}" + (f"; pass {flag}" if flag else ""))
    value = _value(data, name, flag)
    if (items := as_list(value)) is not None:
        if items and all(isinstance(one, str) for one in items):
            value = "\n".join(f"{n}. {one}" for n, one in enumerate(items, start=1))
        else:
            value = _lines(turns_of(items, name))
    if not isinstance(value, str) or not value.strip():
        raise UnusableError(f'"{name}" is not text')
    return value, name


def _value(data: Mapping[str, Any], key: str, flag: str) -> Any:
    try:
        return lookup(data, key)
    except KeyError:
        raise UnusableError(f'no column "{key}"' + (f", which {flag} names" if flag else "")) from None


def _labels(
    data: Mapping[str, Any], rubric: Rubric, label_key: str | None, yes: Sequence[str]
) -> dict[str, bool | float]:
    names = ["score"] if rubric.kind == "score" else [one.name for one in rubric.criteria]
    key = label_key or next((n for n in VERDICTS if data.get(n) is not None), None)
    value = None if key is None else _value(data, key, "--label-key")
    if isinstance(value, Mapping):
        given = {name: value[name] for name in names if value.get(name) is not None}
    else:
        given = {name: data[name] for name in names if data.get(name) is not None} if label_key is None else {}
        if not given and value is not None and len(names) == 1:
            given = {names[0]: value}
    if not given:
        raise UnusableError(f"no verdict on {', '.join(names)}: no such column, and none of {', '.join(VERDICTS[:4])}")
    return {name: _label(one, name, rubric, yes) for name, one in given.items()}


def _label(value: Any, name: str, rubric: Rubric, yes: Sequence[str]) -> bool | float:
    if yes:
        said: bool | None = str(value).strip().casefold() in {word.strip().casefold() for word in yes}
    else:
        said = value if isinstance(value, bool) else YES_OR_NO.get(_word(value))
    if rubric.kind != "score":
        if said is None:
            raise UnusableError(f'the verdict on "{name}" is {value!r:.60}, neither yes nor no; pass --yes LABEL')
        return said
    low, high = rubric.scale
    found = number(value)
    if found is not None and not yes and low <= found <= high:
        return found
    if said is None:
        raise UnusableError(f"the score is {value!r:.60}, no number from {low:g} to {high:g}")
    return high if said else low


def _word(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()
