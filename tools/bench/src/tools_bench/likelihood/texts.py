"""What is read: a context, and what could follow it, one text for each option.

The texts are plain, without a chat template, so that a model here and one behind a server read the same. `letters`
lists the options and reads their letters; `texts` reads the options themselves, which are not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools_bench.requests.choices import LETTERS, listed
from tools_bench.requests.item import Item

ChoiceBy = Literal["generation", "letters", "texts"]


@dataclass(frozen=True)
class Reading:
    """One item: what comes before, and a continuation for each option, in the order of the item."""

    item: Item
    context: str
    continuations: tuple[str, ...]
    by: ChoiceBy

    @property
    def lengths(self) -> tuple[int, ...]:
        """Characters of each continuation, its leading space left out: what log-probabilities are divided by for
        lm-eval's `acc_norm` too."""
        return tuple(len(text.strip()) for text in self.continuations)


def reading(item: Item, by: ChoiceBy) -> Reading:
    question = listed(item.question, item.options) if by == "letters" else item.question
    said = LETTERS[: len(item.options)] if by == "letters" else item.options
    return Reading(item, f"Question: {question}\nAnswer:", tuple(f" {text}" for text in said), by)
