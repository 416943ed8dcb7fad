"""What happens at a trainer's steps: logging into the run, checkpoints, guards, and stopping in order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from tools_shared import processes
from tools_shared.console import Progress, progress, say
from tools_shared.costs.meter import note
from tools_shared.costs.record import TRAINING
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs import Draft
from tools_shared.training.checkpoints import seal
from tools_shared.training.guards import Guard


class RunCallback(TrainerCallback):
    """Writes each logged step to the run's `metrics.jsonl` and one line of it to the terminal; seals checkpoints."""

    def __init__(self, run: Draft, shown: dict[str, str]) -> None:
        """`shown` maps a metric's key to its name in the line on the terminal."""
        self.run, self.shown = run, shown
        self.began = time.monotonic()
        self.first_step = 0
        self.counted = (self.began, 0.0)
        self.trained = 0.0
        self.bar: Progress[int] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.began, self.first_step = time.monotonic(), state.global_step
        self.trained = float(state.num_input_tokens_seen)  # GRPO goes on counting from its checkpoint, SFT from 0
        self.bar = progress(total=state.max_steps, initial=self.first_step, label="training", unit="step").__enter__()

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        values = {key: value for key, value in logs.items() if isinstance(value, int | float)}
        self._count(values.get("num_tokens"))
        values |= self._speed(values.get("num_tokens"))
        self.run.log({"step": state.global_step, "seconds": round(time.monotonic() - self.began, 2), **values})
        words = [f"{name} {shown_value(values[key])}" for key, name in self.shown.items() if key in values]
        if not words:  # an evaluation's line, which has been said
            return
        if self.bar is not None:
            self.bar.note("  ".join(words[:2]))
        say(f"step {state.global_step}/{state.max_steps}  " + "  ".join([*words, *self._left(state)]))

    def _count(self, n_tokens: float | None) -> None:
        """Tokens trained on since the line before, on all processes; those of steps that are repeated count again."""
        if n_tokens is not None:
            note(max(0, round(n_tokens - self.trained)), part=TRAINING)
            self.trained = n_tokens

    def _speed(self, n_tokens: float | None) -> dict[str, float]:
        """Tokens a second, prompts and completions together, since the line before; not known on the first."""
        if n_tokens is None:
            return {}
        now = time.monotonic()
        before, tokens_before = self.counted
        self.counted = (now, n_tokens)
        return {"tokens_per_second": (n_tokens - tokens_before) / (now - before)} if tokens_before else {}

    def _left(self, state: TrainerState) -> list[str]:
        """The time left at the pace of this session's steps; the first one is slower than those to come."""
        done = state.global_step - self.first_step
        to_do = state.max_steps - state.global_step
        if done < 2 or not to_do:
            return []
        return [f"left {duration((time.monotonic() - self.began) / done * to_do)}"]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)
        # A run killed while it is evaluated then has nothing to train again; the last step's figures are the run's.
        last = state.global_step >= state.max_steps
        control.should_save |= last
        control.should_log |= last

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # Every process writes the state of its random numbers into the checkpoint; the last makes it whole.
        processes.gather(None)
        if state.is_world_process_zero:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


class StopCallback(TrainerCallback):
    """Ends training after a step, with a checkpoint, when a signal or a guard has asked for it."""

    def __init__(self, stop: StopRequest, guards: Sequence[Guard], every: int = 1) -> None:
        """`every`: only after a multiple of this number of steps can training be resumed to the same bits."""
        self.stop, self.guards, self.every = stop, guards, every

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # What was logged before the run was cut off counts as if it had not been.
        for guard in self.guards:
            for entry in state.log_history:
                guard.look(entry["step"], entry)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any, **_: Any
    ) -> None:
        # With fp16 the scaler itself leaves out a step whose gradients overflow.
        if not args.fp16:
            for guard in self.guards:
                guard.look_at_gradients(state.global_step + 1, model)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, Any], **_: Any
    ) -> None:
        for guard in self.guards:
            reason = guard.look(state.global_step, logs)
            if reason:
                self.stop.ask(reason)
        self._obey(state, control)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._obey(state, control)

    def _obey(self, state: TrainerState, control: TrainerControl) -> None:
        # All stop after the same step, whichever of them was asked to.
        for reason in filter(None, processes.gather(self.stop.reason)):
            self.stop.ask(reason)
        if self.stop.reason and state.global_step % self.every == 0:
            control.should_save = control.should_training_stop = True


def without_printer(trainer: Trainer) -> Trainer:
    """The trainer without its habit of printing every log as a dict on stdout, which belongs to the result."""
    trainer.remove_callback(PrinterCallback)
    return trainer


def shown_value(value: float) -> str:
    """Four digits; a number of five or more as a whole one."""
    return f"{value:.0f}" if abs(value) >= 9999.5 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A time as a person says it: `45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
