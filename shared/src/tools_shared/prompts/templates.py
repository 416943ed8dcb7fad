"""Check what a chat template does with messages: templates silently drop system messages and open blocks."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tools_shared.console import say
from tools_shared.errors import ToolError, brief
from tools_shared.prompts import chat_template
from tools_shared.prompts.ends import end_of_turn_id
from tools_shared.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_THINKING = ("think", "thinking", "thought", "thoughts", "reasoning")
_TAG = re.compile(r"<([A-Za-z_|:]+)>|\[([A-Z_]+)\]")
_CLOSING = re.compile(r"</([A-Za-z_|:]+)>|\[/([A-Z_]+)\]")


def apply_template(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    options: Mapping[str, Any],
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The prompt up to the assistant's turn, in which system message and last message stand.

    The system message goes into the user's turn where the template refuses or leaves out its role (Gemma's; Phi-3's
    first). Raises ToolError when a message is left out all the same, and `TemplateRefusedError` for turns that the
    template refuses.
    """

    def render(turns: Sequence[Message]) -> str:
        return chat_template.render(tokenizer, [m.to_template() for m in turns], options, True, tools)

    has_system = messages[0].role == "system" and len(messages) > 1
    try:
        text = render(messages)
    except chat_template.TemplateRefusedError:
        if not has_system:
            raise
        text = None
    if text is None or (has_system and not _holds(text, messages[0])):
        messages = fold_system(messages)
        text = render(messages)
    lost = next((m for m in (messages[0], messages[-1]) if m.role in ("system", "user") and not _holds(text, m)), None)
    if lost is not None:
        raise ToolError(
            f"the chat template of '{tokenizer.name_or_path}' leaves out the {lost.role}'s message "
            f"'{lost.content[:60]}'; give the model another chat_template"
        )
    _check_tools(tokenizer, text, messages, tools)
    return text


def _check_tools(
    tokenizer: PreTrainedTokenizerBase, text: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> None:
    """Raise TemplateRefusedError for a template that leaves out the tools, a call of one, or what one said."""
    names = [(tool.get("function") or tool).get("name") for tool in tools]
    called = [call["function"]["name"] for m in messages for call in m.tool_calls]
    lost = [str(name) for name in (*names, *called) if name is not None and str(name) not in text]
    bare = _letters(text)
    answers = [m.content for m in messages if m.role == "tool"]
    lost += [said[:60] for said in answers if all(_letters(one) not in bare for one in (said, json.dumps(said)))]
    if lost:
        raise chat_template.TemplateRefusedError(
            f"{tokenizer.name_or_path}: its chat template leaves out tools or what they say ({brief(lost[0])})"
        )


def _letters(text: str) -> str:
    """Letters and digits alone: templates write what a tool said as text or as JSON."""
    return "".join(character for character in text.replace("\\n", "").replace("\\t", "") if character.isalnum())


def written_turn(
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    messages: Sequence[Message],
    options: Mapping[str, Any],
    tools: Sequence[Mapping[str, Any]],
) -> str:
    """How the template writes the last of `messages`, an assistant's turn that calls tools, behind its `prompt`.

    Without the token that ends it. Raises TemplateRefusedError where the one does not begin with the other.
    """
    text = chat_template.render(tokenizer, [m.to_template() for m in messages], options, False, tools)
    if messages[0].role == "system" and not text.startswith(prompt):
        text = chat_template.render(tokenizer, [m.to_template() for m in fold_system(messages)], options, False, tools)
    end = tokenizer.convert_ids_to_tokens(end_of_turn_id(tokenizer))
    said, found, _ = text[len(prompt) :].rpartition(end)
    lost = [c["function"]["name"] for c in messages[-1].tool_calls if c["function"]["name"] not in said]
    if not text.startswith(prompt) or not found or lost:
        why = (
            f"leaves out the call of {lost[0]}" if lost else "writes a call of a tool otherwise than behind its prompt"
        )
        raise chat_template.TemplateRefusedError(f"{tokenizer.name_or_path}: its chat template {why}")
    return said


def _holds(text: str, message: Message) -> bool:
    """Whether a message is in a prompt, however the template trims it."""
    return " ".join(message.content.split()) in " ".join(text.split())


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Messages for a model without a system role (Gemma's templates refuse one): its text opens the user's turn."""
    first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
    return [first, *messages[2:]]


def opened_block(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[str, str] | None:
    """The tags of the block that the template opens at a prompt's end, such as `<think>`; None where it opens none."""
    end = text.rstrip()
    found = next((match for match in _TAG.finditer(end, max(0, len(end) - 40)) if match.end() == len(end)), None)
    pair = _pair(found) if found else None
    return pair if pair and _reasons(pair[0]) else None


def own_block(tokenizer: PreTrainedTokenizerBase, completion: str) -> tuple[str, str] | None:
    """The tags of the reasoning that a completion begins with, where they are the template's too; else None."""
    found = _TAG.match(completion.lstrip())
    pair = _pair(found) if found else None
    return pair if pair and _reasons(pair[0]) and pair[1] in completion and pair[0] in _sources(tokenizer) else None


def written_block(text: str) -> tuple[str, str] | None:
    """The tags of the first block of reasoning in a text, whatever model wrote it; None where there is none.

    A closing tag alone counts where no opening one is found: many prompts end with the opening one.
    """
    for pattern in (_TAG, _CLOSING):
        pairs = (_pair(found) for found in pattern.finditer(text))
        if pair := next((pair for pair in pairs if _reasons(pair[0])), None):
            return pair
    return None


def _reasons(tag: str) -> bool:
    """Whether a tag's name is one of reasoning: `<think>`, `[THINK]`, `<seed:think>`; turns have tags too."""
    return tag.strip("<|[]>").rpartition(":")[2].lower() in _THINKING


def _pair(tag: re.Match[str]) -> tuple[str, str]:
    return (f"<{tag[1]}>", f"</{tag[1]}>") if tag[1] else (f"[{tag[2]}]", f"[/{tag[2]}]")


def _sources(tokenizer: PreTrainedTokenizerBase) -> str:
    template = tokenizer.chat_template
    return "\n".join(template.values()) if isinstance(template, dict) else template or ""


def closed(text: str, tags: tuple[str, str], name: str) -> str:
    """A prompt whose open block is closed empty, as Qwen3's template closes one when thinking is switched off."""
    _say_once(
        f"note: the chat template of '{name}' opens {tags[0]}, which is not a tag of the prompt profile; the prompts "
        "close it empty (--profile think reasons in it)"
    )
    return f"{text.rstrip()}\n\n{tags[1]}\n\n"


@functools.cache
def _say_once(message: str) -> None:
    say(message)
