"""Whether a learned reward still agrees with what it is meant to predict.

A policy that is trained on a learned reward can raise it without more right answers. Where rows have gold answers, the
rank correlation of the latest rewards with verified correctness falls when that happens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tools_shared.console import say
from tools_shared.judging.bias import rank_correlation
from tools_shared.prompts import Profile
from tools_shared.rewards.inputs import Completion
from tools_shared.rewards.named import SCORES, NamedReward, Scores

KINDS = ("correct", "length")
_LATEST = 256
"""Scores that a correlation is taken over."""
_ENOUGH = 64
"""Fewest scores for which a correlation that is not above 0 is printed."""


class HackingWatch:
    """The latest scores of one reward, with whether each answer is right and how many tokens the completion has."""

    def __init__(self, name: str, profile: Profile | None) -> None:
        self._name = name
        self._correct = NamedReward("correct", 1.0, profile, SCORES["correct"]) if profile else None
        self._pairs: dict[str, deque[tuple[float, float]]] = {kind: deque(maxlen=_LATEST) for kind in KINDS}
        self._is_warned = False

    def note(self, scores: Scores, completions: Sequence[Completion], columns: Mapping[str, Any]) -> None:
        """`columns` are those of the reward's call: `question`, and where they are there `answer` (the gold answers)
        and `completion_ids`."""
        questions = columns.get("question") or [""] * len(scores)
        if (ids := columns.get("completion_ids")) is not None:
            self._pairs["length"] += _centred(questions, scores, [float(len(tokens)) for tokens in ids])
        if self._correct is not None and "answer" in columns:
            right = self._correct(completions, completions, **columns)
            self._pairs["correct"] += _centred(questions, scores, right)

    def signs(self) -> dict[str, float]:
        """Rank correlations within a question of the latest scores: `correct`, with right answers, and `length`, with
        tokens. Each is missing where there is too little to tell. Prints once that the first is not above 0."""
        found = {}
        for kind, pairs in self._pairs.items():
            rho = rank_correlation([score for score, _ in pairs], [value for _, value in pairs])
            if rho is None:
                continue
            found[kind] = rho.rho
            if kind == "correct" and rho.n >= _ENOUGH and rho.low <= 0 and not self._is_warned:
                self._is_warned = True
                say(
                    f"{self._name}: within a question, the rank correlation of this reward and right answers is {rho}; "
                    "the model may raise the reward without more right answers, so read some rollouts before continuing"
                )
        return found


def _centred(questions: Sequence[str], scores: Scores, values: Sequence[float | None]) -> list[tuple[float, float]]:
    """Scores and values less their means over the question's completions, as in an advantage; only of questions whose
    values differ."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for question, score, value in zip(questions, scores, values, strict=True):
        if score is not None and value is not None:
            groups.setdefault(question, []).append((score, value))
    found = []
    for pairs in groups.values():
        if len({value for _, value in pairs}) > 1:
            mean_score, mean_value = fmean(score for score, _ in pairs), fmean(value for _, value in pairs)
            found += [(score - mean_score, value - mean_value) for score, value in pairs]
    return found
