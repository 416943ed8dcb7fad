"""Training from where the run is to its end, or to a stop from which the same command resumes."""

from __future__ import annotations

import errno
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transformers import Trainer

from tools_shared.cli import disk_full
from tools_shared.console import say
from tools_shared.errors import Incomplete, ToolError
from tools_shared.models.formats import NOT_PLAIN, check_checkpoint
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs import Draft
from tools_shared.training.callbacks import StopCallback
from tools_shared.training.checkpoints import damage, step_of
from tools_shared.training.guards import Guard
from tools_shared.training.order import SameOrder
from tools_shared.training.trackers import add_tensorboard

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
"""Words of torch's allocators, compared in lower case."""
DISK_FULL = ("no space left on device", "pytorchstreamwriter failed writing", "disk quota exceeded")


def fit(
    trainer: Trainer,
    run: Draft,
    checkpoint: Path | None,
    stop: StopRequest,
    guards: Sequence[Guard],
    resumable_every: int = 1,
) -> None:
    """Train from `checkpoint`, or from the beginning. A stop waits for a multiple of `resumable_every` steps, after
    which it can be resumed exactly.

    Raises Incomplete when a signal or a guard ended it before its last step; its checkpoint is then written.
    """
    trainer.add_callback(StopCallback(stop, guards, resumable_every))
    trainer.add_callback(SameOrder())
    if run.config.report_to == "tensorboard":
        add_tensorboard(trainer, run, step_of(checkpoint))
    with stop.after_the_step():
        _train(trainer, checkpoint)
    if stop.reason:
        raise Incomplete(
            f"{stop.reason}; step {trainer.state.global_step} of {trainer.state.max_steps} is saved, run the same "
            "command again to resume from there"
        )


def _train(trainer: Trainer, checkpoint: Path | None) -> None:
    if checkpoint is None:
        trainer.train()
        return
    check_checkpoint(checkpoint)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    except pickle.UnpicklingError as error:  # its message advises to run what the file holds
        raise ToolError(f"{checkpoint}: {NOT_PLAIN}") from error


@contextmanager
def resumable(run: Draft, memory_remedy: str) -> Iterator[None]:
    """A full disk and a full memory, which libraries report in words of their own, as `Incomplete`: exit 3, and the
    checkpoints that are whole stay. `memory_remedy` names the flags that need less memory."""
    try:
        yield
    except Incomplete:
        raise
    except Exception as error:
        words = str(error).lower()
        if any(word in words for word in DISK_FULL):
            _drop_torn(run)
            raise disk_full(OSError(errno.ENOSPC, "No space left on device", str(run.path))) from error
        if isinstance(error, MemoryError) or any(word in words for word in OUT_OF_MEMORY):
            raise Incomplete(f"out of memory: {memory_remedy}; then run it again to resume") from error
        raise


def _drop_torn(run: Draft) -> None:
    """Delete the checkpoint that the full disk interrupted: its space may be what the next try needs."""
    folders = sorted(run.checkpoint_dir.glob("checkpoint-*"), key=step_of)
    for folder in [path for path in folders if damage(path) is not None]:
        shutil.rmtree(folder)
        folders.remove(folder)
    kept = f"that of step {step_of(folders[-1])} stays" if folders else "there is none before it"
    say(f"{run.checkpoint_dir}: the disk is full and this checkpoint was not written; {kept}")
