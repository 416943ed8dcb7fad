"""An Ollama `Modelfile`: the prompt of the run as Ollama's own template, its system text and its ends.

Ollama does not run a model's chat template; it has templates of its own. So the pieces between the messages are taken
out of rendered dialogues, put together as Ollama would, and compared with what the model's template writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.export.gguf_vocabulary import adds_bos
from tools_shared.models.load import context_length
from tools_shared.prompts import Profile, plain_text
from tools_shared.prompts.ends import stop_ids
from tools_shared.prompts.render import render_prompt
from tools_shared.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

LONGEST = 8192
"""Context that is asked of Ollama at most, whose own default cuts long reasoning: memory grows with it."""
SYSTEM, USER, REPLY = "Qs1system", "Qu2user", "Qa3reply"


@dataclass(frozen=True)
class Pieces:
    """What stands around the messages of a dialogue that begins with a system message."""

    before_system: str
    before_first: str
    after_user: str
    before_next: str
    last: str
    """What follows the last user's message besides `after_user`: an empty block of reasoning, where one is written."""

    def text(self, messages: Sequence[Message]) -> str:
        """A dialogue up to the assistant's turn, as the Ollama template writes it."""
        around = {
            "system": (self.before_system, self.before_first),
            "user": ("", self.after_user),
            "assistant": ("", self.before_next),
        }
        return "".join(around[m.role][0] + m.content + around[m.role][1] for m in messages) + self.last

    def template(self) -> str:
        """The same in Go's template language."""
        system = f"{go(self.before_system)}{{{{ .Content }}}}{go(self.before_first)}"
        user = f"{{{{ .Content }}}}{go(self.after_user)}"
        reply = f"{{{{ .Content }}}}{go(self.before_next)}"
        branches = f'{{{{ if eq .Role "system" }}}}{system}{{{{ else if eq .Role "user" }}}}{user}'
        return f"{{{{ range .Messages }}}}{branches}{{{{ else }}}}{reply}{{{{ end }}}}{{{{ end }}}}{go(self.last)}"


def go(text: str) -> str:
    """Text as it stands in a Go template."""
    return '{{ "{{" }}'.join(text.split("{{"))


def modelfile(
    tokenizer: PreTrainedTokenizerBase, profile: Profile, gguf: str, config: PreTrainedConfig, configured: Any
) -> str:
    """The Modelfile beside the file `gguf`. Raises ToolError for a chat template that Ollama's cannot express."""
    template = _template(tokenizer, profile)
    ends = sorted(stop_ids(tokenizer, configured))
    stops = [tokenizer.convert_ids_to_tokens(number) for number in ends]
    longest = min(LONGEST, context_length(config) or LONGEST)
    lines = [
        f"FROM ./{gguf}",
        f"TEMPLATE {_quoted(template)}",
        f"SYSTEM {_quoted(profile.system)}",
        *(f"PARAMETER stop {_quoted(stop)}" for stop in stops),
        "# As the run was evaluated: greedily, without a penalty on repeated words.",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {longest}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if '"""' in text:
        raise ToolError(f"a Modelfile cannot hold three quotes in a row, as in {text[:60]!r}; use --to gguf")
    return f'"""{text}"""'


def _template(tokenizer: PreTrainedTokenizerBase, profile: Profile) -> str:
    if not tokenizer.chat_template:
        # Without a chat template there is one layout, of one question.
        text = plain_text([Message("system", SYSTEM), Message("user", USER)])
        return go(text).replace(SYSTEM, "{{ .System }}").replace(USER, "{{ .Prompt }}") + "{{ .Response }}"
    found = pieces(tokenizer, profile)
    for messages in _DIALOGUES:
        if found.text(messages) != _rendered(tokenizer, profile, messages):
            raise ToolError(
                f"the chat template of {tokenizer.name_or_path} writes a dialogue of {len(messages)} messages in a way "
                "that Ollama's templates cannot; use --to gguf with llama-server, which runs it as it is"
            )
    return found.template()


def pieces(tokenizer: PreTrainedTokenizerBase, profile: Profile) -> Pieces:
    """The pieces of a model's chat template, from one rendered dialogue."""
    system, first, reply = Message("system", SYSTEM), Message("user", USER), Message("assistant", REPLY)
    long = _rendered(tokenizer, profile, [system, first, reply, first])
    short = _rendered(tokenizer, profile, [system, first])
    try:
        before_system, rest = long.split(SYSTEM)
        before_first, after_user, last = rest.split(USER)
        after_user, before_next = after_user.split(REPLY)
        ending = short.split(USER)[1]
    except ValueError:
        raise ToolError(
            f"the chat template of {tokenizer.name_or_path} does not write each message once; use --to gguf"
        ) from None
    end = ending if ending == last else last
    return Pieces(before_system, before_first, after_user, before_next, end.removeprefix(after_user))


def _rendered(tokenizer: PreTrainedTokenizerBase, profile: Profile, messages: Sequence[Message]) -> str:
    """A prompt of the run, without the first token where llama.cpp adds it."""
    text = render_prompt(tokenizer, profile, messages).text
    return text.removeprefix(tokenizer.bos_token) if adds_bos(tokenizer) and tokenizer.bos_token else text


_DIALOGUES = tuple(
    [Message("system", "Answer in one word."), *turns]
    for turns in (
        [Message("user", "What is 7 times 8?")],
        [Message("user", "7 times 8?"), Message("assistant", "56"), Message("user", "And 9 times 8?")],
        [
            Message("user", "Is 91 prime?"),
            Message("assistant", "No: 7 * 13."),
            Message("user", "Is 97?"),
            Message("assistant", "Yes."),
            Message("user", "{{ .Prompt }} and 101?"),
        ],
    )
)
