"""Advantages of a step's completions, and what each token's weighs in the loss: as TRL's losses have it, in numbers.

A service sums -(ratio x advantage) over tokens, so how a loss averages is part of the advantages that it is sent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from tools_grpo.config import GrpoConfig

EPSILON = 1e-4
"""Added to the standard deviation that advantages are divided by, as TRL does."""


def advantages_of(totals: Sequence[float], n_group: int, scale: str) -> list[float]:
    """(reward - its group's mean), divided by the standard deviation of the group or of the batch (n - 1 in the
    denominator), or by nothing. `totals` stand group after group; one that is NaN gets 0 and counts in no mean."""
    every = [total for total in totals if not math.isnan(total)]
    found = []
    for start in range(0, len(totals), n_group):
        group = totals[start : start + n_group]
        known = [total for total in group if not math.isnan(total)]
        mean = fmean(known) if known else 0.0
        spread = {"group": _deviation(known), "batch": _deviation(every), "none": 1.0 - EPSILON}[scale] + EPSILON
        found += [0.0 if math.isnan(total) else (total - mean) / spread for total in group]
    return found


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def token_shares(lengths: Sequence[int], is_counted: Sequence[bool], config: GrpoConfig) -> list[float]:
    """What one token of each completion weighs in the step's loss; `lengths` are in tokens, 0 for what is left out.

    dapo and bnpo: 1 / all tokens of the step. grpo: 1 / (completions x the completion's own length). dr_grpo:
    1 / (completions x --max-completion-length).
    """
    n_tokens = sum(length for length, counted in zip(lengths, is_counted, strict=True) if counted)
    shares = []
    for length, counted in zip(lengths, is_counted, strict=True):
        per_step = {
            "grpo": len(lengths) * length,
            "dr_grpo": len(lengths) * config.max_completion_length,
        }.get(config.loss, n_tokens)
        shares.append(1 / per_step if counted and length else 0.0)
    return shares
