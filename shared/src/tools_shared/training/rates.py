"""The learning rate of each step.

With N steps of which W = min(ceil(--warmup-ratio N), N - 1) warm up, step i (from 1) has this share of the peak rate:

    i / (W + 1)                               while it warms up, i <= W; the first step has more than 0
    1                                         constant
    (N - j) / (N - W)                         linear, j = i - 1
    (1 + cos(pi (j - W) / (N - W))) / 2       cosine

transformers' own schedules warm up by (i - 1) / W and let W be N: the first step, or all of a short run's, has rate 0.
After the warm-up the shares are theirs, and like theirs never 0.
"""

from __future__ import annotations

import math


def warmup_steps(ratio: float, n_steps: int) -> int:
    """Steps before the learning rate is at its peak; at least one step has the peak rate."""
    return min(math.ceil(ratio * n_steps), n_steps - 1)


def rate(kind: str, done: int, n_warmup: int, n_steps: int) -> float:
    """The share of the peak learning rate after `done` steps, for the one that comes next."""
    if kind == "constant":
        return 1.0
    if done < n_warmup:
        return (done + 1) / (n_warmup + 1)
    left = (n_steps - done) / (n_steps - n_warmup)
    if kind == "linear":
        return max(0.0, left)
    return 0.5 * (1 + math.cos(math.pi * (1 - left))) if kind == "cosine" else 1.0
