"""The rows that stay, in the shape that a trainer reads: `--output-format`. Every other field is kept.

`rlvr` is what open-instruct's GRPO trains on: `messages` without the answer, `ground_truth`, and in `dataset` the name
of the verifier that compares them: `gsm8k` or `math` for final answers, `general-quality_ref` (a language model that
compares with the reference) for the steps of a procedure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tools_shared.errors import UnusableError
from tools_shared.records import Message, Row
from tools_shared.sources import as_list, conversation_from, detect_shape, question_of, split_gsm8k
from tools_shared.sources.conversations import turns_of
from tools_shared.sources.problems import ANSWER_KEYS, QUESTION_KEYS, find_problem
from tools_shared.sources.shapes import CONVERSATIONS, SHAPES, field_of, text_of

Turns = list[dict[str, str]]


def shaped(data: Mapping[str, Any], output_format: str) -> Mapping[str, Any]:
    """A row in the shape of `--output-format`, with its id and its other fields. Raises UnusableError.

    `messages`: the user's turn and the assistant's. `prompt-response`: the same as two fields; the prompt of a longer
    conversation is the list of its turns before the last. `rlvr`: see the module.
    """
    if output_format == "same":
        return data
    if output_format == "rlvr":
        made, used = _verifiable(data)
    else:
        turns, used = _conversation(data, output_format)
        prompt = turns[0]["content"] if len(turns) == 2 else turns[:-1]
        said = {"prompt": prompt, "response": turns[-1]["content"]}
        made = {"messages": turns} if output_format == "messages" else said
    rest = {key: value for key, value in data.items() if key not in used}
    if taken := next((key for key in made if key in rest), None):
        raise UnusableError(f'has a field "{taken}" besides, which --output-format {output_format} writes; rename it')
    first = {"id": rest.pop("id")} if "id" in rest else {}
    return {**first, **made, **rest}


def _conversation(data: Mapping[str, Any], output_format: str) -> tuple[Turns, Collection[str]]:
    """The turns, and the fields that they are made of."""
    shape = detect_shape(data)
    if shape is None or shape == "text":
        raise UnusableError(f"has no question and answer for --output-format {output_format}")
    if shape in CONVERSATIONS:
        found = conversation_from(Row(data, None))
        return _plain(found.messages), set(data) - set(found.extra) - {"id"}
    asked, answered = SHAPES[shape]
    if shape == "procedure":
        turns = [
            Message("user", text_of(data[asked], asked)),
            Message("assistant", _numbered(data[answered], answered)),
        ]
        return _plain(turns), {asked, answered}
    if shape == "verl":  # the rest of what it says of the reward stays
        said, used = field_of(data, f"{answered}.ground_truth"), {asked}
    else:
        said, used = data[answered], {asked, answered}
    return _plain([*_asked(data, asked), Message("assistant", _answer(said, answered))]), used


def _numbered(value: Any, key: str) -> str:
    """A procedure's steps, a list or a cell of CSV that holds one, a line each."""
    steps = as_list(value)
    if not steps or not all(isinstance(step, str) and step.strip() for step in steps):
        raise UnusableError(f'"{key}" is not a list of steps')
    return "\n".join(f"{n}. {step.strip()}" for n, step in enumerate(steps, start=1))


def _asked(data: Mapping[str, Any], key: str) -> list[Message]:
    """The turns up to the answer: a list of messages without the assistant's last one, else the question."""
    if not isinstance(data[key], list | tuple):
        return [Message("user", question_of(data, key))]
    turns = turns_of(data[key], key)
    turns = turns[:-1] if turns[-1].role == "assistant" else turns
    if not turns or turns[-1].role != "user":
        raise UnusableError(f'"{key}" asks nothing')
    return turns


def _answer(value: Any, key: str) -> str:
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    text = text_of(str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value, key)
    parts = split_gsm8k(text)
    return f"{parts[0]}\n#### {parts[1]}".lstrip() if parts else text


def _verifiable(data: Mapping[str, Any]) -> tuple[dict[str, Any], Collection[str]]:
    """`messages`, `ground_truth` and `dataset`, and the fields that they are made of.

    A row's own `ground_truth` and `dataset` stay what they are. Else the final answer and `gsm8k` (compares the last
    number) where a `#### N` line marks it, `math` (compares what is in the box) otherwise.
    """
    key = next((k for k in ("messages", "conversations", *QUESTION_KEYS) if data.get(k) is not None), None)
    if key is None:
        raise UnusableError("has no question for --output-format rlvr")
    turns = _asked(data, key)
    used = {key, "ground_truth", "dataset"} | ({"input"} if key == "instruction" else set())
    truth, verifier = data.get("ground_truth"), "math"
    if truth is None and detect_shape(data) == "procedure":  # the steps stay: rewards may want them as a list
        truth, verifier = _numbered(data["steps"], "steps"), "general-quality_ref"
    elif truth is None:
        truth, verifier, kept = _truth(data, turns[-1].content)
        used |= kept
    return {"messages": _plain(turns), "ground_truth": truth, "dataset": data.get("dataset") or verifier}, used


def _truth(data: Mapping[str, Any], question: str) -> tuple[str, str, Collection[str]]:
    """The final answer, its verifier, and the field of the answer where that holds nothing else."""
    alone = {key: value for key, value in data.items() if key not in QUESTION_KEYS} | {"question": question}
    try:
        found = find_problem(Row(alone, None))
    except UnusableError as error:
        keys = ", ".join(key for key in ANSWER_KEYS if key in data) or "none of the known fields"
        reason = str(error).partition("; pass --")[0]
        raise UnusableError(f"has no answer for --output-format rlvr ({keys}: {reason})") from error
    answer, verifier = found.problem.answer, "gsm8k" if found.rests_on == "marked" else "math"
    bare = str(data.get(found.name)).strip() == answer
    return answer, verifier, {found.name} if bare else set()


def _plain(turns: Collection[Message]) -> Turns:
    return [{"role": turn.role, "content": turn.content} for turn in turns]
