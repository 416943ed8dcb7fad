"""Where the steps of a trace end while it is sampled: those that a scorer was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_shared.prompts import Profile
from tools_shared.states.steps import BLANK_LINE, LINE, SENTENCE, step_tokens, token_ends

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKS = {BLANK_LINE: "\n", LINE: "\n", SENTENCE: ".!?"}
"""Characters of which the last of a step is one."""
_TAIL = 64
"""Characters before the tokens looked at in which the tag that closes the reasoning may begin."""


@dataclass
class Reasoning:
    """How far a trace's reasoning has been looked at."""

    is_closed: bool = False
    n_looked: int = 0
    tail: str = ""


class StepEnds:
    """Finds them. Most tokens cannot end a step; only after one that can is any text looked at."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, profile: Profile, delimiter: str) -> None:
        self.tokenizer, self.profile, self.delimiter = tokenizer, profile, delimiter
        self._pieces: dict[int, str] = {}
        self._may_end: dict[int, bool] = {}

    def may_end(self, token: int) -> bool:
        """Whether a step can end at this token, whatever is around it."""
        found = self._may_end.get(token)
        if found is None:
            found = self._may_end[token] = any(mark in self._piece(token) for mark in _MARKS[self.delimiter])
        return found

    def candidates(self) -> list[int]:
        """All tokens of the vocabulary at which a step can end."""
        return [token for token in range(len(self.tokenizer)) if self.may_end(token)]

    def have_ended(self, tokens: Sequence[int], seen: Reasoning) -> bool:
        """Whether the last token but one ends a step of the reasoning, by the text around it."""
        if seen.is_closed:
            return False
        at = len(tokens) - 2
        text = seen.tail + "".join(map(self._piece, tokens[seen.n_looked : at + 1]))
        seen.n_looked, seen.tail = at + 1, text[-_TAIL:]
        closing = self.profile.think[1] if self.profile.think else None
        if closing is not None and closing in text:
            seen.is_closed = True
            return False
        start = at
        while start > 0 and not self._piece(tokens[start]).strip("\r\n"):
            start -= 1
        start = max(0, start - 1)
        spelled, ends = token_ends(self.tokenizer, tokens[start:])
        if at - start not in step_tokens(spelled, ends, self.delimiter, last_token=False):
            return False
        return closing is not None or self._is_reasoning(tokens, seen)

    def _is_reasoning(self, tokens: Sequence[int], seen: Reasoning) -> bool:
        """Without tags the reasoning ends where the answer's block begins."""
        text = self.tokenizer.decode(tokens[:-1], skip_special_tokens=False)
        seen.is_closed = self.profile.parse(text).block_start is not None
        return not seen.is_closed

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self.tokenizer.decode([token], skip_special_tokens=False)
        return self._pieces[token]
