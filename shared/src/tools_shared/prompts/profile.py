"""Prompt profiles: the tags of a completion, and how to parse it.

A profile says which tags carry the reasoning and the answer. It is stored beside the weights it was
trained with (`model/tools.json`) and adopted by every later tool, so training, evaluation and sampling
cannot disagree. Parsing is plain string search: linear in the length of the text, whatever the text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError, brief
from tools_shared.files import yaml_text
from tools_shared.prompts.blocks import BOXED, adjoined, block_start, blocks, last_filled, reasoning_block, said

NOTES = "tools.json"
"""Beside the weights: the prompt profile they were trained with, and the base that an adapter belongs to."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A completion taken apart.

    `thinking` and `answer` are None when the completion does not carry them; `answer_span` is the half-open
    character range of `answer` in the text. `well_formed`: one reasoning block, closed, then the answer, once, and
    nothing that the profile does not allow. An empty block and a placeholder (`your answer`) are no answer.
    `block_start` is where the answer's opening tag begins, `n_blocks` how many blocks there are behind the reasoning.
    """

    thinking: str | None
    answer: str | None
    answer_span: tuple[int, int] | None
    well_formed: bool
    block_start: int | None = None
    n_blocks: int = 0


@dataclass(frozen=True)
class Profile:
    """Tags of the reasoning (`think`) and of the answer, and the system message that asks for them.

    `think` is None when the reasoning is not tagged; an empty `system` is no message. `template_options` go to
    the chat template (`enable_thinking` is what Qwen3's reads; templates ignore names that they do not know).
    """

    name: str
    system: str
    answer: tuple[str, str]
    think: tuple[str, str] | None = None
    template_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def completion(self, reasoning: str, answer: str, opened: bool = False) -> str:
        """The gold completion. With `opened` the prompt has already written the opening thinking tag."""
        if self.think is None:
            return f"{reasoning}\n{self.answer[0]}{answer}{self.answer[1]}".lstrip()
        start = "" if opened else self.think[0]
        return f"{start}{reasoning}{self.think[1]}{self.answer[0]}{answer}{self.answer[1]}"

    def closes_unopened(self, text: str) -> bool:
        """Whether reasoning is closed that the text never opened: the prompt that a server rendered did that."""
        return self.think is not None and self.think[0] not in text and self.think[1] in text

    def parse(self, text: str, opened: bool = False) -> Parsed:
        """Take a completion apart. With `opened` it begins inside the reasoning, because the prompt opened the tag.

        What follows the token that ends the turn is not looked at.
        """
        text = said(text, (*(self.think or ()), *self.answer))
        if self.think is None:
            thinking, rest_start, closed_once = None, 0, True
        else:
            thinking, begins, closed_once = reasoning_block(text, *self.think, opened=opened)
            if begins is None:
                return Parsed(thinking, None, None, False)
            rest_start = begins
        found = list(blocks(text, *self.answer, start=rest_start))
        span = last_filled(text, found)
        if span is None:
            return Parsed(thinking, None, None, False)
        begin = block_start(text, span, self.answer)
        if self.think is None:  # all that precedes the answer is the reasoning
            rest_start, thinking = begin, text[:begin].strip() or None
        n_blocks = 1 + sum(other[1] <= span[0] or other[0] >= span[1] for other in found)
        alone = (
            not adjoined(text, found, span)
            if self.answer == BOXED
            else _only_block(text, span, rest_start, self.answer)
        )
        once = n_blocks == 1 and alone
        tidy = closed_once and once and bool(thinking)
        return Parsed(thinking, text[span[0] : span[1]].strip(), span, tidy, begin, n_blocks)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "profile") -> Profile:
        """Build a profile from its stored or hand-written form; raises ToolError on a missing or unknown key."""
        names = {f.name for f in dataclasses.fields(cls)}
        required = {"name", "system", "answer"}
        if not isinstance(data, Mapping) or not required <= set(data) <= names:
            raise ToolError(
                f"{where}: a prompt profile has the keys {', '.join(sorted(names))} (the first two tags optional)"
            )
        if wrong := next((k for k in ("name", "system") if not isinstance(data[k], str)), None):
            raise ToolError(f"{where}: '{wrong}' must be text, got {brief(data[wrong])}")
        pairs = {k: _pair(data.get(k), k, where) for k in ("answer", "think")}
        options = _template_options(data.get("template_options"), where)
        return cls(**{**data, **pairs, "template_options": options})


def _pair(value: Any, key: str, where: str) -> tuple[str, str] | None:
    """The opening and closing tag; None where a profile has no tags for the reasoning."""
    if value is None and key == "think":
        return None
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(tag, str) and tag for tag in value):
        return value[0], value[1]
    raise ToolError(f"{where}: 'answer' and 'think' are each a pair of non-empty tags [open, close]")


def _template_options(value: Any, where: str) -> Mapping[str, Any]:
    """What the chat template is given besides the messages. Raises ToolError for a name that says how it is called."""
    value = {} if value is None else value
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ToolError(f"{where}: 'template_options' is a mapping of names to values, got {brief(value)}")
    if taken := sorted(set(value) & _CALL):
        raise ToolError(f"{where}: 'template_options' cannot set '{taken[0]}', which is not for the template")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        reason = brief(str(error), quoted=False)
        raise ToolError(f"{where}: 'template_options' hold what JSON cannot ({reason})") from error
    return value


_CALL = frozenset(
    "self conversation messages chat_template add_generation_prompt continue_final_message tokenize padding truncation "
    "max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs".split()
)


def _only_block(text: str, span: tuple[int, int], start: int, tags: tuple[str, str]) -> bool:
    """Whether the answer block is the only thing after the reasoning."""
    before, after = text[start : span[0] - len(tags[0])], text[span[1] + len(tags[1]) :]
    return not before.strip() and not after.strip()


PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        Profile(
            name="gsm8k-tags",
            system="Solve the problem. Write your reasoning between <start_working_out> and <end_working_out>, "
            "then only the final answer between <SOLUTION> and </SOLUTION>.",
            think=("<start_working_out>", "<end_working_out>"),
            answer=("<SOLUTION>", "</SOLUTION>"),
            template_options={"enable_thinking": False},
        ),
        Profile(
            name="think",
            system="Solve the problem. Reason step by step between <think> and </think>, "
            "then give the final answer in \\boxed{}.",
            think=("<think>", "</think>"),
            answer=BOXED,
            template_options={"enable_thinking": True},
        ),
        Profile(
            name="boxed",
            system="Solve the problem step by step and give the final answer in \\boxed{}.",
            answer=BOXED,
            template_options={"enable_thinking": False},
        ),
    )
}
DEFAULT_PROFILE = "gsm8k-tags"


def load_profile(name_or_file: str) -> Profile:
    """A built-in profile by name, or one described in a YAML file or noted beside a model's weights (`tools.json`).

    Raises ToolError naming the known ones.
    """
    if name_or_file in PROFILES:
        return PROFILES[name_or_file]
    path = Path(name_or_file)
    if not path.is_file():
        raise ToolError(f"prompt profile '{name_or_file}' is unknown: use {', '.join(PROFILES)}, or a YAML file")
    found = yaml_text.load(path)
    noted: Any = found.get("profile") if path.name == NOTES and isinstance(found, Mapping) else found
    return Profile.from_json(noted, where=str(path))
