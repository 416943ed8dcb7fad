"""The options of every command that trains, apart from the trainers so that `--help` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tools_shared.config import Config, option
from tools_shared.errors import ToolError
from tools_shared.models.extras import need


@dataclass(frozen=True)
class TrainingOptions(Config):
    """Optimiser, schedule and checkpoints."""

    PANEL: ClassVar[str] = "Optimiser"

    max_steps: int = option(-1, "Stop after N optimiser steps (-1: run all epochs).", minimum=-1)
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = option(
        "cosine", "Learning rate schedule."
    )
    warmup_ratio: float = option(0.05, "Share of the steps used for learning rate warm-up.", minimum=0, maximum=0.99)
    weight_decay: float = option(0.0, "Weight decay of AdamW.", minimum=0)
    max_grad_norm: float = option(1.0, "Clip gradients to this norm.", minimum=0)
    gradient_checkpointing: bool = option(
        False, "Recompute activations in the backward pass: slower, less memory.", identity=False, panel="Run"
    )
    save_steps: int = option(50, "Steps between checkpoints.", minimum=1, identity=False, panel="Run")
    logging_steps: int = option(10, "Steps between logged lines.", minimum=1, identity=False, panel="Run")
    report_to: Literal["none", "tensorboard", "wandb", "mlflow", "trackio"] = option(
        "none", "Also log to this tracker; metrics.jsonl is always written.", identity=False, panel="Run"
    )
    processes: int = option(
        1,
        "Processes on this machine, one per GPU. The optimiser steps are those of one process.",
        minimum=1,
        identity=False,
        panel="Run",
    )
    sharding: Literal["none", "fsdp2"] = option(
        "none",
        "fsdp2: shard weights, gradients and optimiser state over the processes, instead of a full copy in each.",
        identity=False,
        panel="Run",
    )
    dry_run: bool = option(
        False,
        "Print what would be trained, then stop. Shows the configuration, the first prompt with the trained tokens "
        "marked, the numbers of batches and steps, and the expected memory, before any weights are loaded.",
        identity=False,
        panel="Run",
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
