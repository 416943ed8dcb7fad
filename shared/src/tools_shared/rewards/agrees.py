"""`agrees`: what a judge is trained with, the share of a verdict that agrees with people's labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tools_shared.errors import UnusableError
from tools_shared.judging.verdicts import agreed, number, truth
from tools_shared.rewards.inputs import Completion, completion_text, gold_text
from tools_shared.rewards.named import Reward, Scores


@dataclass(frozen=True)
class AgreesReward(Reward):
    """The gold answer is a verdict as JSON (`{"safe": true}`, `{"score": 7}`, `{"better": "A"}`), as `tools-traces
    verdicts` writes it. A completion without exactly that form, as a rubric's judge is read, gets 0; else the share of
    the names on which it says what the label says. Of a number, with the row's `scale`, it is 1 less the share of the
    scale that lies between; off the scale is out of form."""

    is_verifiable: ClassVar[bool] = True

    @property
    def needs_answer(self) -> bool:
        return True

    def check_row(self, columns: Mapping[str, Any]) -> None:
        gold_verdict(gold_text(columns.get("answer")), self.name)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        golds = [gold_verdict(gold_text(one), self.name) for one in columns["answer"]]
        scales = columns.get("scale") or [None] * len(golds)
        return [
            agreement(completion_text(completion), gold, scale)
            for completion, gold, scale in zip(completions, golds, scales, strict=True)
        ]


def gold_verdict(text: str, name: str) -> dict[str, Any]:
    """The label of a row. Raises UnusableError for what is no verdict."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(v, bool | int | float | str) for v in found.values())
    ):
        raise UnusableError(f'"answer" is no verdict such as {{"safe": true}}, which the reward \'{name}\' wants')
    return found


def agreement(text: str, gold: Mapping[str, Any], scale: Sequence[float] | None = None) -> float:
    """How far the verdict in a reply is that of the label, from 0 to 1; 0 for a reply without one."""
    said = agreed(text, lambda found: _read(found, gold, scale))
    if said is None:
        return 0.0
    return sum(_same(said[name], label, scale) for name, label in gold.items()) / len(gold)


def _read(found: Mapping[str, Any], gold: Mapping[str, Any], scale: Sequence[float] | None) -> dict[str, Any] | None:
    said = {name: _as(label, found.get(name), scale) for name, label in gold.items()}
    return None if None in said.values() else said


def _as(label: Any, value: Any, scale: Sequence[float] | None) -> Any:
    """A value of the label's kind; None for anything else."""
    if isinstance(label, bool):
        return truth(value)
    if isinstance(label, str):
        return value.strip().casefold() if isinstance(value, str) else None
    found = number(value)
    return found if found is not None and (scale is None or scale[0] <= found <= scale[1]) else None


def _same(said: Any, label: Any, scale: Sequence[float] | None) -> float:
    if isinstance(label, str):
        return float(said == label.strip().casefold())
    if isinstance(label, bool) or scale is None:
        return float(said == label)
    return 1 - abs(said - label) / (scale[1] - scale[0])
