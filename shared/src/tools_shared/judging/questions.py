"""What a judge is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools_shared.judging.rubric import Criterion, Rubric
from tools_shared.records import Message

JUDGING = "judging"
"""The part of a run's cost that judges are."""
LONGEST_REPLY = 20_000
"""Characters of a reply that a judge is shown."""


@dataclass(frozen=True)
class Question:
    """What one judgement is about: what the judge sees, by name, and the criteria that hold for it. `draw` tells
    repetitions apart."""

    shown: Mapping[str, Any]
    criteria: tuple[Criterion, ...] = ()
    draw: int = 0


def messages_of(rubric: Rubric, question: Question) -> list[Message]:
    """What the judge is asked: the rubric, and what it judges as JSON, so that no reply can end its own quotation."""
    shown = json.dumps(question.shown, ensure_ascii=False, indent=1, default=str)
    return [Message("system", rubric.system(question.criteria)), Message("user", shown)]
