"""The options of every command that trains, apart from the trainers so that `--help` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools_shared.config import Config, option
from tools_shared.errors import ToolError
from tools_shared.models.extras import need


@dataclass(frozen=True)
class TrainingOptions(Config):
    """Optimiser, schedule and checkpoints."""

    max_steps: int = option(-1, "Stop after so many optimiser steps; -1: when the epochs are over.", minimum=-1)
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = option(
        "cosine", "How the learning rate changes over the run."
    )
    warmup_ratio: float = option(
        0.05, "Share of the steps over which the learning rate rises.", minimum=0, maximum=0.99
    )
    weight_decay: float = option(0.0, "Weight decay of AdamW.", minimum=0)
    max_grad_norm: float = option(1.0, "Gradients are scaled down to this norm.", minimum=0)
    gradient_checkpointing: bool = option(
        False, "Compute activations again in the backward pass: slower, less memory.", identity=False
    )
    save_steps: int = option(50, "Steps between checkpoints.", minimum=1, identity=False)
    logging_steps: int = option(10, "Steps between logged lines.", minimum=1, identity=False)
    report_to: Literal["none", "tensorboard", "wandb", "mlflow", "trackio"] = option(
        "none", "Also send what is logged to this tracker; metrics.jsonl is always written.", identity=False
    )
    processes: int = option(
        1, "Processes on this machine, one a GPU. The steps are those of one process.", minimum=1, identity=False
    )
    sharding: Literal["none", "fsdp2"] = option(
        "none",
        "fsdp2: spread weights, gradients and optimiser over the processes, instead of a whole copy in each.",
        identity=False,
    )
    dry_run: bool = option(
        False,
        "Print the configuration, the first prompt with what is learned of it marked, the counts of batches and steps "
        "and the memory to expect; then stop, before weights are loaded.",
        identity=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps == 0:
            raise ToolError("--max-steps must be at least 1, or -1 for all of the epochs, got 0")
        if self.report_to != "none":
            need(self.report_to, self.report_to)

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.lr_scheduler == "constant":
            found["warmup_ratio"] = "with --lr-scheduler constant, which has no warm-up"
        if self.max_steps > 0:
            found["epochs"] = "with --max-steps"
        return found
