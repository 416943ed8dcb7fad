"""Which rows are held out of training, tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_sft.config import SftConfig
from tools_sft.data.encoding import Encoded, encode
from tools_shared.errors import ToolError
from tools_shared.prompts import Example, Profile
from tools_shared.records import Conversation, Problem, Rejected
from tools_shared.training.selection.split import Parts, set_aside

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNASKED, FEWEST_UNASKED = 0.05, 8
"""Share of the rows that is held out by itself where nothing else can tell how good the model is, and its least
number; of fewer than ten times as many rows none is."""


@dataclass(frozen=True)
class Part:
    """Held-out rows as the model sees them, and as problems where all of them are."""

    examples: list[Example]
    problems: list[Problem]


@dataclass(frozen=True)
class HeldOut:
    """Rows that choose (None: nothing is chosen) and rows that only report; `n_rows` were taken out of training, and
    `rejected` are those of them that cannot be used."""

    choosing: Part | None
    reporting: Part
    n_rows: int
    rejected: list[Rejected]


def divide(
    config: SftConfig, rows: Sequence[Problem | Conversation], tests: Sequence[Problem] | None
) -> Parts[Problem | Conversation]:
    """The training rows without those that are held out, by the user's word or where nothing else can be measured."""
    share = config.validation_split
    if share is None:
        nothing_asked = config.eval and tests is None and config.backend == "local"
        enough = len(rows) >= 10 * FEWEST_UNASKED
        share = max(UNASKED, FEWEST_UNASKED / len(rows)) if nothing_asked and enough else 0.0
    return set_aside(rows, tests, share, config.seed, chooses=config.eval_steps > 0)


def prepared(
    parts: Parts[Problem | Conversation],
    tokenizer: PreTrainedTokenizerBase,
    profile: Profile,
    config: SftConfig,
    context_length: int | None,
) -> HeldOut | None:
    """The held-out rows, tokenised as those that are learned. Raises ToolError where --best-by cannot be measured."""
    if not parts.reporting:
        return None
    found, rejected = [], []
    for rows in (parts.choosing, parts.reporting):
        encoded = encode(tokenizer, profile, rows, config, context_length) if rows else Encoded([], [], 0, 0, [])
        problems = [row for row in rows if isinstance(row, Problem)]
        found.append(Part(encoded.examples, problems if len(problems) == len(rows) else []))
        rejected += encoded.rejected
    choosing, reporting = found
    if config.eval_steps and config.best_by == "accuracy" and not (choosing.problems and reporting.problems):
        raise ToolError("--best-by accuracy needs held-out rows with answers to check; take --best-by loss")
    return HeldOut(choosing if parts.choosing else None, reporting, parts.n_held_out, rejected)
