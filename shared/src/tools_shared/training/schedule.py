"""The schedule of `tools_shared.training.rates` in a trainer of transformers, and the loss of the last step."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from tools_shared import processes
from tools_shared.training.rates import rate, warmup_steps


class Scheduled(Trainer):
    """Put before a trainer's class: it follows our schedule, and logs `step_loss`, that of one step, beside
    `loss`, which is the mean over the steps since the last log."""

    losses: list[torch.Tensor]
    lr_scheduler: LambdaLR | None

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

    def _run_epoch(self, *args: Any, **options: Any) -> None:
        """See transformers: a run that is resumed after its last step would make one more in a begun epoch."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **options)

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
