"""The order of the prompts in a run that is resumed after its first epoch."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.utils import RepeatSampler


class SameOrder(TrainerCallback):
    """Brings TRL's sampler of groups to the epoch that a checkpoint is in.

    Its generator draws a new order each epoch and is in no checkpoint: without this, a resumed second epoch has the
    order of the first, and some prompts are seen twice in it and others never.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, train_dataloader: Any, **_: Any
    ) -> None:
        batches = train_dataloader.batch_sampler
        # With several processes each has a part of the batches.
        sampler = getattr(batches, "batch_sampler", batches).sampler
        if isinstance(sampler, RepeatSampler):
            for _epoch in range(int(state.epoch or 0)):
                torch.randperm(sampler.num_samples, generator=sampler.generator)
