"""The learning rate of each step, and the loss of the last one.

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
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from tools_shared import processes


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


class Scheduled(Trainer):
    """Put before a trainer's class: it follows this module's schedule, and logs `step_loss`, that of one step, beside
    `loss`, which is the mean over the steps since the last log."""

    losses: list[torch.Tensor]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            kind = self.args.lr_scheduler_type
            n_warmup = warmup_steps(self.args.warmup_steps, num_training_steps)
            name = str(getattr(kind, "value", kind))
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer, lambda done: rate(name, done, n_warmup, num_training_steps)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        """See transformers: it is asked for the batches of one optimiser step."""
        self.losses = []
        return super().get_batch_samples(*args, **options)

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        loss = super().training_step(*args, **options)
        self.losses.append(loss.detach())
        return loss

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        if "loss" in logs and self.model.training:
            # On every process: each has its part of the loss, as of the gradients.
            own = torch.stack(self.losses).sum().item()
            parts = processes.gather(own)
            logs["step_loss"] = sum(parts) / len(parts)
        super().log(logs, *args, **options)
