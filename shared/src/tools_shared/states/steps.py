"""What of a response a model reads again, and where its steps end, in characters and in tokens.

Scoring a trace only means something when its steps end where those of the training ended, so all tools ask here.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError, UnusableError
from tools_shared.prompts import Profile, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class NoThinkingError(UnusableError):
    """A response holds neither tag of the profile's thinking block, and its prompt did not open one."""


BLANK_LINE, LINE, SENTENCE = "\n\n", "\n", "sentence"
_PATTERNS = {
    # A run of line ends is one boundary: what follows the first of them would be an empty step. CRLF ends a line too.
    BLANK_LINE: re.compile(r"(?<![\r\n])\r?\n\r?\n"),
    LINE: re.compile(r"(?<![\r\n])\r?\n"),
    SENTENCE: re.compile(r"[.!?](?=\s|$)"),
}


def parse_delimiter(text: str) -> str:
    """A delimiter as a shell passes it: `\\n\\n` may be four characters or two. Raises ToolError on any other."""
    named = text.replace("\\n", "\n")
    if named not in _PATTERNS:
        raise ToolError(f"--delimiter must be '\\n\\n', '\\n' or 'sentence', got {text!r}")
    return named


def parse_layers(text: str, flag: str) -> tuple[int, ...]:
    """Numbers with commas, of hidden states that are read at the ends of steps; raises ToolError naming `flag`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ToolError(f"{flag} is numbers with commas, such as -1 or 3,6, got '{text}'") from None


def step_ends(text: str, delimiter: str) -> list[int]:
    """The half-open character ends of the steps: where each delimiter is complete. Linear in the text."""
    return [match.end() for match in _PATTERNS[delimiter].finditer(text)]


def boundary_tokens(token_ends: Sequence[int], char_ends: Sequence[int]) -> list[int]:
    """Indices of the tokens that hold the last character of each step, without repetitions, in order.

    `token_ends[i]` is where token i ends in the text (half-open, never falling).
    """
    found = (bisect_left(token_ends, end) for end in char_ends)
    return list(dict.fromkeys(token for token in found if token < len(token_ends)))


def step_tokens(text: str, ends: Sequence[int], delimiter: str, last_token: bool = True) -> list[int]:
    """The tokens at which the steps of a text end, and with `last_token` its last one, where the last step ends.

    `ends` are those of the text's tokens, as `boundary_tokens` takes them.
    """
    marks = boundary_tokens(ends, step_ends(text, delimiter))
    if last_token and ends and (not marks or marks[-1] != len(ends) - 1):
        marks.append(len(ends) - 1)
    return marks


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """Token ids of a text and where each ends in it; raises ToolError for a tokenizer that cannot tell."""
    if not tokenizer.is_fast:
        raise ToolError(f"the tokenizer of '{tokenizer.name_or_path}' gives no offsets; convert it to a fast one")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoded["input_ids"], [end for _, end in encoded["offset_mapping"]]


def token_ends(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> tuple[str, list[int]]:
    """The text that sampled tokens spell, and where each of them ends in it.

    A sampler need not choose the tokens that the tokenizer would; where it did, the tokenizer's own offsets serve.
    """
    text = _decode(tokenizer, token_ids)
    again, ends = encode(tokenizer, text)
    return text, ends if again == list(token_ids) else _by_pieces(tokenizer, token_ids)


def sampled(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], text: str) -> tuple[list[int], list[int]]:
    """Those of the sampled tokens of a response that spell `text`, its beginning, and where each ends in it.

    Raises UnusableError when they do not spell it.
    """
    if max(token_ids, default=0) >= len(tokenizer):
        raise UnusableError("'token_ids' are not of this tokenizer (a number beyond its vocabulary)")
    spelled, ends = token_ends(tokenizer, token_ids)
    if spelled[: len(text)] != text:
        raise UnusableError("'token_ids' do not spell the response; they are of another tokenizer")
    n_tokens = next((i for i, end in enumerate(ends) if end > len(text)), len(ends))
    return list(token_ids[:n_tokens]), ends[:n_tokens]


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> str:
    return tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _by_pieces(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> list[int]:
    """Token by token, each decoded after the one before it: a token alone may lose its blank or half a character."""
    ends, length, begin, known = [], 0, 0, 0
    for after in range(1, len(token_ids) + 1):
        before_text = _decode(tokenizer, token_ids[begin:known])
        text = _decode(tokenizer, token_ids[begin:after])
        if not text.endswith("\ufffd"):
            length += len(text) - len(before_text)
            begin, known = known, after
        ends.append(length)
    return ends


def reasoning(response: str, profile: Profile, prompt: Prompt, whole: bool = False) -> str:
    """What the model is made to read after the prompt: the response up to the end of its reasoning.

    An opening tag that the prompt has written already is left out of it. Reasoning that never closes is all there is;
    reasoning that is closed and never opened was opened by the prompt of the model that wrote it.
    Raises UnusableError when there is none, NoThinkingError without a block; with `whole` the response itself is taken
    then.
    """
    if profile.think is None:
        text = response[: profile.parse(response).block_start]
    else:
        text = _tagged(response, *profile.think, prompt, whole)
    if not text.strip().removeprefix(profile.think[0] if profile.think else "").strip():
        raise UnusableError("the reasoning is empty")
    return text


def _tagged(response: str, opening: str, closing: str, prompt: Prompt, whole: bool) -> str:
    if prompt.opens_thinking and response.lstrip().startswith(opening):
        after_tag = prompt.text[prompt.text.rfind(opening) + len(opening) :]
        response = response.lstrip()[len(opening) :]
        # The prompt goes on after its tag as the template has it ("\n"); the response's own copy of that goes too.
        response = response.removeprefix(after_tag)
    elif not prompt.opens_thinking and opening not in response and closing not in response:
        if not whole:
            raise NoThinkingError(f"no thinking block ('{opening}')")
        return response
    end = response.find(closing)
    return response if end < 0 else response[:end]
