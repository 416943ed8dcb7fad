"""From questions and messages to prompts, and from rows to training examples, by a profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.prompts.chat_template import TemplateRefusedError
from tools_shared.prompts.ends import end_of_turn_id, text_of
from tools_shared.prompts.profile import Profile
from tools_shared.prompts.templates import apply_template, closed, opened_block, own_block, written_turn
from tools_shared.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model sees it. `opens_thinking`: its last words are the opening thinking tag. `messages` are what
    it was made from, and `template_options` the profile's, for servers that render them themselves; `think` are the
    profile's tags of the reasoning."""

    text: str
    token_ids: tuple[int, ...]
    opens_thinking: bool = False
    messages: tuple[Message, ...] = ()
    think: tuple[str, str] | None = None
    template_options: Mapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Example:
    """A training example. `loss_mask[i]` says whether token i is predicted in the loss; same length as `token_ids`."""

    token_ids: tuple[int, ...]
    loss_mask: tuple[bool, ...]


def question_messages(profile: Profile, question: str) -> list[Message]:
    """The system message, where the profile has one, and the question."""
    system = [Message("system", profile.system)] if profile.system else []
    return [*system, Message("user", question)]


def render_prompt(
    tokenizer: PreTrainedTokenizerBase | None,
    profile: Profile,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] = (),
) -> Prompt:
    """Messages up to the assistant's turn, as text and tokens; without a tokenizer (a server has it) no tokens.

    Through the tokenizer's chat template where there is one, else in a plain layout:
    the system message, then `Question:` and `Answer:` lines.
    """
    if tokenizer is None:
        return Prompt(plain_text(messages), (), False, tuple(messages), profile.think, profile.template_options)
    if tokenizer.chat_template:
        text = apply_template(tokenizer, messages, profile.template_options, tools)
        block = opened_block(tokenizer, text)
        if block is not None and (profile.think is None or block[0] != profile.think[0]):
            text = closed(text, block, tokenizer.name_or_path)
        token_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        if tools or any(m.role == "tool" or m.tool_calls for m in messages):
            raise TemplateRefusedError(f"{tokenizer.name_or_path} has no chat template, and so no form for tools")
        text = plain_text(messages)
        token_ids = tokenizer(text)["input_ids"]
        if token_ids and token_ids[-1] == tokenizer.eos_token_id and token_ids[-1] != tokenizer.bos_token_id:
            token_ids = token_ids[:-1]
    opens = profile.think is not None and text.rstrip().endswith(profile.think[0])
    return Prompt(text, tuple(token_ids), opens, tuple(messages), profile.think, profile.template_options)


def render_question(tokenizer: PreTrainedTokenizerBase | None, profile: Profile, question: str) -> Prompt:
    return render_prompt(tokenizer, profile, question_messages(profile, question))


def render_turn(
    tokenizer: PreTrainedTokenizerBase,
    profile: Profile,
    messages: Sequence[Message],
    said: Message,
    tools: Sequence[Mapping[str, Any]] = (),
) -> tuple[Prompt, str]:
    """The prompt before an assistant's turn that was written elsewhere, and what of the turn follows it.

    One that brings its own reasoning gets a prompt that lets it think, and not its opening tag where the prompt ends
    with that already.
    """
    completion = said.content
    tags = own_block(tokenizer, completion) if tokenizer.chat_template else None
    if said.tool_calls:
        thinking = {} if tags is None else {"enable_thinking": True}
        options = {**profile.template_options, **thinking}
        prompt = render_prompt(tokenizer, dataclasses.replace(profile, template_options=options), messages, tools)
        return prompt, written_turn(tokenizer, prompt.text, [*messages, said], options, tools)
    if tags is None:
        return render_prompt(tokenizer, profile, messages, tools), completion
    if profile.think != tags:
        profile = dataclasses.replace(profile, think=tags)
    options = {**profile.template_options, "enable_thinking": True}
    prompt = render_prompt(tokenizer, dataclasses.replace(profile, template_options=options), messages, tools)
    if prompt.opens_thinking:
        completion = completion.lstrip().removeprefix(tags[0])
        completion = completion.lstrip("\n") if prompt.text.endswith("\n") else completion
    return prompt, completion


def check_written(tokenizer: PreTrainedTokenizerBase, profile: Profile) -> None:
    """Raise ToolError when the tokenizer cannot write a completion of the profile and read it again."""
    text = profile.completion("2 + 3 = 5", "5")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    back = text_of(tokenizer, ids, frozenset())
    tags = [tag for pair in (profile.think, profile.answer) if pair for tag in pair]
    lost = next((tag for tag in tags if tag not in back), None)
    if lost is not None:
        raise ToolError(
            f"the tokenizer of '{tokenizer.name_or_path}' cannot write the tag {lost} of the prompt profile "
            f"'{profile.name}' (it reads back {back[:60]!r}); take another --profile, or add the tag to the tokenizer"
        )


def encode_example(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, completion: str, loss_on: str = "completion"
) -> Example:
    """Prompt tokens, then the completion's, then end of turn; the last one is part of what is learned.

    Prompt and completion are encoded apart, exactly as they meet when the model generates. `loss_on` is
    `completion` or `all`.
    """
    target = tokenizer(completion, add_special_tokens=False)["input_ids"] + [end_of_turn_id(tokenizer)]
    mask = [loss_on == "all"] * len(prompt.token_ids) + [True] * len(target)
    return Example((*prompt.token_ids, *target), tuple(mask))


def plain_text(messages: Sequence[Message]) -> str:
    """The layout for models without a chat template."""
    labels = {"user": "Question: ", "assistant": "Answer: ", "system": ""}
    return "\n\n".join(labels[m.role] + m.content for m in messages) + "\n\nAnswer:\n"
