"""What training tools share around TRL's trainers: options, checkpoints that are whole, logging into the run.

Import it where training begins: it needs transformers.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from tools_shared.cli import disk_full, say
from tools_shared.errors import Incomplete
from tools_shared.models.load import pick_device, pick_dtype
from tools_shared.runs import Draft

WHOLE = "checkpoint.whole"
"""Written into a checkpoint last: one without it was cut off and is not used."""


def trainer_options(config: Any, run: Draft) -> dict[str, Any]:
    """Arguments that every trainer gets: where it writes, how often it saves, on which device and in which format."""
    import torch

    device = pick_device(config.device)
    on_gpu = device == "cuda"
    dtype = pick_dtype(config.dtype, device)
    return {
        "output_dir": str(run.checkpoint_dir),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": config.warmup_ratio,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": config.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "logging_steps": config.logging_steps,
        "logging_first_step": True,
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": not on_gpu,
        "bf16": on_gpu and dtype == torch.bfloat16,
        "fp16": on_gpu and dtype == torch.float16,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


class RunCallback(TrainerCallback):
    """Writes each logged step to the run's `metrics.jsonl` and one line of it to the terminal; marks checkpoints."""

    def __init__(self, run: Draft, shown: dict[str, str]) -> None:
        """`shown` maps a metric's key to its name in the line on the terminal."""
        self.run, self.shown = run, shown
        self.began = time.monotonic()
        self.counted = (self.began, 0.0)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        values = {key: value for key, value in logs.items() if isinstance(value, int | float)}
        values |= self._speed(values.get("num_tokens"))
        self.run.log({"step": state.global_step, "seconds": round(time.monotonic() - self.began, 2), **values})
        words = [f"{name} {values[key]:.4g}" for key, name in self.shown.items() if key in values]
        say(f"step {state.global_step}/{state.max_steps}  " + "  ".join(words))

    def _speed(self, n_tokens: float | None) -> dict[str, float]:
        """Tokens a second, prompts and completions together, since the line before; not known on the first."""
        if n_tokens is None:
            return {}
        now = time.monotonic()
        before, tokens_before = self.counted
        self.counted = (now, n_tokens)
        return {"tokens_per_second": (n_tokens - tokens_before) / (now - before)} if tokens_before else {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A run killed while it is evaluated then has nothing to train again.
        control.should_save |= state.global_step >= state.max_steps

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for path in folder.rglob("*"):
            if path.is_file():
                _flush(path)
        with (folder / WHOLE).open("w") as mark:
            os.fsync(mark.fileno())


def without_printer(trainer: Trainer) -> Trainer:
    """The trainer without its habit of printing every log as a dict on stdout, which belongs to the result."""
    trainer.remove_callback(PrinterCallback)
    return trainer


def _flush(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def last_checkpoint(run: Draft) -> Path | None:
    """The newest whole checkpoint of the run; one that was cut off while being written is deleted, with a sentence."""
    folders = [path for path in run.checkpoint_dir.glob("checkpoint-*") if path.is_dir()]
    for folder in sorted(folders, key=lambda path: -step_of(path)):
        if (folder / WHOLE).exists():
            return folder
        say(f"{folder}: this checkpoint was cut off while it was written; going on from the one before")
        shutil.rmtree(folder)
    return None


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])


def resume_point(run: Draft) -> Path | None:
    """Where training goes on, the logged steps after it forgotten; None to begin."""
    checkpoint = last_checkpoint(run)
    if run.resumed:
        run.rewind(step_of(checkpoint) if checkpoint else 0)
        say(f"{run.path}: going on from step {step_of(checkpoint) if checkpoint else 0}")
    return checkpoint


@contextmanager
def full_disk_is_resumable() -> Iterator[None]:
    """Libraries report a full disk in words of their own; made `Incomplete`, it is exit 3 and the checkpoint stays."""
    try:
        yield
    except Incomplete:
        raise
    except Exception as error:
        if "No space left on device" in str(error) or "PytorchStreamWriter failed writing" in str(error):
            raise disk_full(OSError(errno.ENOSPC, "No space left on device")) from error
        raise
