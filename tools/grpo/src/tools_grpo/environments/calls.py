"""How a model calls a tool and is answered, as text.

    <tool_call>{"name": "calculate", "arguments": {"expression": "3*4"}}</tool_call>      the model's turn
    <tool_call>calculate("3*4")</tool_call>                                               the same, shorter
    <tool_response>12</tool_response>                                                     the next turn of the user

JSON is what Hermes, Qwen 2.5 and Qwen 3 write. A model whose chat template has other forms for tools (or none) is told
in its system message of the shorter one, which takes half the tokens; what it writes is read in both. Nothing of a call
is evaluated: the arguments are literals.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError, brief
from tools_shared.files.literals import ERRORS, literal, parsed
from tools_shared.prompts import Profile, render_prompt
from tools_shared.prompts.chat_template import TemplateRefusedError, render
from tools_shared.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "<tool_call>", "</tool_call>"
ANSWER, ANSWERED = "<tool_response>", "</tool_response>"
_BLOCK = re.compile(rf"{OPEN}(.*?)(?:{CLOSE}|\Z)", re.DOTALL)
_SHORT = re.compile(r"([A-Za-z_]\w*)\s*\(")
_PLAIN = {"type", "description"}
LONGEST = 100_000
"""Characters of a call that are read."""
_MARKS = ("x1y2z3", "p4q5r6")


@dataclass(frozen=True)
class Wanted:
    """A call that a model wrote; `fault` says why it cannot be made."""

    name: str
    arguments: Mapping[str, Any]
    fault: str = ""


def calls_in(text: str, profile: Profile, schemas: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The calls of a turn, in order; those in its reasoning are none. The schemas name the arguments that a call gives
    by their place."""
    think = profile.think
    if think and think[1] in text:
        text = text.rpartition(think[1])[2]
    elif think and think[0] in text:
        return []
    names = {one["name"]: list(_parameters(one)) for one in (schema["function"] for schema in schemas)}
    written = [match[1].strip() for match in _BLOCK.finditer(text)]
    return [_short(one, names) if _SHORT.match(one) else _json(one) for one in written]


def _parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    return function.get("parameters", {}).get("properties", {})


def _short(written: str, names: Mapping[str, Sequence[str]]) -> Wanted:
    """A call as `name(1, "two", key=[3])`, its arguments literals of Python or JSON."""
    name = _SHORT.match(written)[1]  # type: ignore[index]
    try:
        call = parsed(written[:LONGEST])
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("more than one call")
        if any(one.arg is None for one in call.keywords):
            raise ValueError("** is no argument")
        by_place = [literal(one) for one in call.args]
        by_name = {one.arg: literal(one.value) for one in call.keywords}
    except ERRORS as error:
        why = brief(str(error), 80, quoted=False)
        return Wanted(name, {}, f"the call is not {name}(argument, ...) with literals ({why})")
    places = names.get(name, [])
    if len(by_place) > len(places) and name in names:
        return Wanted(name, {}, f"{len(by_place)} arguments, {name} takes {len(places)}")
    arguments = dict(zip(places, by_place, strict=False))
    if twice := next((key for key in by_name if key in arguments), None):
        return Wanted(name, {}, f"the argument {brief(twice)} is given twice")
    return Wanted(name, arguments | by_name)


def _json(written: str) -> Wanted:
    try:
        found = json.loads(written)
    except (ValueError, RecursionError) as error:
        return Wanted("", {}, f"the call is not JSON ({brief(str(error), 80, quoted=False)})")
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return Wanted("", {}, 'the call is not an object with "name" and "arguments"')
    arguments = found.get("arguments", {})
    if not isinstance(arguments, dict):
        return Wanted(found["name"], {}, '"arguments" is not an object')
    return Wanted(found["name"], arguments)


def described(tokenizer: PreTrainedTokenizerBase, profile: Profile, schemas: Sequence[Mapping[str, Any]]) -> Profile:
    """The profile whose system message tells of the tools: in the words of the model's own chat template, where that
    writes calls as above, else in ours."""
    text = _native(tokenizer, schemas) or "\n\n" + _ours(schemas)
    return dataclasses.replace(profile, system=(profile.system + text).lstrip())


def _ours(schemas: Sequence[Mapping[str, Any]]) -> str:
    lines = "\n".join(_line(schema["function"]) for schema in schemas)
    return (
        f"Tools:\n{lines}\nTo use one, write {OPEN}name(argument, ...){CLOSE} and nothing after it. "
        f"The result comes in {ANSWER}."
    )


def _line(function: Mapping[str, Any]) -> str:
    """A tool in a line: `buy(item: string, count?: integer) - Buy something. item: What to buy. count: How many.`"""
    needed = function.get("parameters", {}).get("required", [])
    shown, said = [], [" ".join(str(function.get("description", "")).split())]
    for name, schema in _parameters(function).items():
        kind = schema["type"] if isinstance(schema.get("type"), str) and set(schema) <= _PLAIN else _shape(schema)
        shown.append(f"{name}{'' if name in needed else '?'}: {kind}")
        if schema.get("description"):
            said.append(f"{name}: {' '.join(str(schema['description']).split())}")
    return f"{function['name']}({', '.join(shown)}) - {' '.join(said)}"


def _shape(schema: Mapping[str, Any]) -> str:
    """A type that is more than a word, as its JSON schema."""
    return json.dumps({key: value for key, value in schema.items() if key != "description"}, ensure_ascii=False)


def _native(tokenizer: PreTrainedTokenizerBase, schemas: Sequence[Mapping[str, Any]]) -> str | None:
    template = tokenizer.chat_template
    if not isinstance(template, str) or not all(word in template for word in ("tools", OPEN, '"arguments', ANSWER)):
        return None
    messages = [{"role": "system", "content": _MARKS[0]}, {"role": "user", "content": _MARKS[1]}]
    try:
        plain, told = (render(tokenizer, messages, {"tools": list(schemas)} if w else {}, True) for w in (False, True))
    except TemplateRefusedError:
        return None
    head, tail = (plain[: plain.index(_MARKS[0]) + len(_MARKS[0])], plain[plain.index(_MARKS[0]) + len(_MARKS[0]) :])
    inside = told.startswith(head) and told.endswith(tail)
    return told[len(head) : len(told) - len(tail)] if inside else None


@dataclass(frozen=True)
class Frame:
    """The tokens around a result, behind the token that ends the model's turn and up to its next one."""

    tokenizer: PreTrainedTokenizerBase
    before: tuple[int, ...]
    after: tuple[int, ...]
    between: tuple[int, ...]
    special: frozenset[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, profile: Profile, end: int) -> Frame:
        """`end` is the token that ends a turn. Raises ToolError for a template that rewrites earlier turns."""
        said, told = _MARKS
        turns = [Message("user", "q"), Message("assistant", said), Message("user", f"{ANSWER}\n{told}\n{ANSWERED}")]
        text = render_prompt(tokenizer, profile, turns).text
        if text.count(said) != 1 or text.count(told) != 1:
            raise ToolError(f"{tokenizer.name_or_path}: its chat template leaves earlier turns out; take another model")
        before, after = text.partition(said)[2].split(told)
        ids = lambda part: tuple(tokenizer(part, add_special_tokens=False)["input_ids"])  # noqa: E731
        first = ids(before)
        return cls(
            tokenizer,
            first[first.index(end) + 1 :] if end in first else first,
            ids(after),
            ids(f"\n{ANSWERED}\n{ANSWER}\n"),
            frozenset(i for i, token in tokenizer.added_tokens_decoder.items() if token.special),
        )

    def tokens(self, results: Sequence[str]) -> tuple[int, ...]:
        """The user's turn with the results, and the beginning of the model's next one. What a tool returns is text: it
        cannot end a turn or close its own block."""
        found: list[int] = [*self.before]
        for number, result in enumerate(results):
            found += [*(self.between if number else ()), *self._plain(result)]
        return (*found, *self.after)

    def _plain(self, text: str) -> list[int]:
        text = re.sub(r"</?tool_(call|response)", lambda match: match[0].replace("tool", "tool "), text)
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return [i for i in ids if i not in self.special]
