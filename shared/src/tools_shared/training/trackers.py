"""Trackers beside `metrics.jsonl`, which is the record."""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from tools_shared.runs import Draft


def add_tensorboard(trainer: Trainer, run: Draft, step: int) -> None:
    """Write event files to the run's `tensorboard/`, those of steps after `step` (which are trained again) hidden.

    The trainer's own setting would put them among the checkpoints, which the finished run does not keep.
    """
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    more: dict[str, Any] = {"purge_step": step + 1} if step else {}
    trainer.add_callback(TensorBoardCallback(SummaryWriter(str(run.path / "tensorboard"), **more)))
