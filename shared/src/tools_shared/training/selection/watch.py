"""The callback that evaluates while a trainer trains, chooses and stops.

What it finds goes into the trainer's own history: each checkpoint then holds what was known at its step, and a run that
is resumed from it chooses what an unbroken one would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tools_shared import processes
from tools_shared.console import say
from tools_shared.models.load import Loaded
from tools_shared.runs import Draft
from tools_shared.runs.card import show_metric
from tools_shared.training.checkpoints import step_of
from tools_shared.training.selection.best import BestWeights
from tools_shared.training.selection.figures import HIGHER_IS_BETTER, Figure, from_log, logged
from tools_shared.training.selection.options import SelectionOptions

History = Sequence[Mapping[str, Any]]


class Watch(TrainerCallback):
    """Evaluates every `--eval-steps` steps and after the last one, keeps the best weights, and ends a run that gets no
    better. Every process of a run has one."""

    def __init__(
        self,
        trainer: Trainer,
        run: Draft,
        loaded: Loaded,
        options: SelectionOptions,
        by: str,
        measure: Callable[[], Mapping[str, Figure]],
    ) -> None:
        """`measure` evaluates the model as it is on the rows that choose; `by` is the figure that does, one of
        HIGHER_IS_BETTER."""
        self.trainer, self.run, self.options, self.by, self.measure = trainer, run, options, by, measure
        self.weights = BestWeights(run, loaded)
        trainer.add_callback(self)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._is_over(state.log_history):
            state.max_steps = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.options.eval_steps and state.global_step < state.max_steps:
            return
        entry = {"step": state.global_step, "epoch": state.epoch, **logged(undisturbed(self.measure))}
        state.log_history.append(entry)
        is_best = best(state.log_history, self.by) is entry
        figures = [f"{name} {show_metric(figure)}" for name, figure in from_log(entry).items()]
        words = ", ".join(figures) + ("; the best so far" if is_best else "")
        say(f"step {state.global_step}/{state.max_steps}  held out: {words}")
        should_log = control.should_log  # the event takes this step's own line for written
        self.trainer.callback_handler.on_log(args, state, control, dict(entry))
        control.should_log = should_log
        if is_best and self.options.load_best:
            self.weights.keep(state.global_step)
        if self._is_over(state.log_history):
            control.should_training_stop = control.should_save = control.should_log = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop the weights that no checkpoint would choose."""
        if not state.is_world_process_zero:
            return
        steps = [step_of(path) for path in self.run.checkpoint_dir.glob("checkpoint-*")]
        chosen = [best([e for e in state.log_history if e["step"] <= step], self.by) for step in steps]
        self.weights.forget_all_but({entry["step"] for entry in chosen if entry})

    def _is_over(self, history: History) -> bool:
        patience = self.options.early_stopping_patience
        found = best(history, self.by)
        evaluated = [entry for entry in history if f"eval_{self.by}" in entry]
        return bool(patience and found) and len(evaluated) - 1 - evaluated.index(found) >= patience

    def settle(self) -> dict[str, Any]:
        """Give the model its chosen weights; returns the manifest's facts about the choice, with what the rows that
        made it say of it."""
        state = self.trainer.state
        evaluated = [entry for entry in state.log_history if f"eval_{self.by}" in entry]
        found = best(evaluated, self.by)
        stopped_early = self._is_over(state.log_history)
        if stopped_early:
            say(
                f"stopped after step {state.global_step}: no better {self.by} in "
                f"{self.options.early_stopping_patience} evaluations (--early-stopping-patience)"
            )
        if self.options.load_best:
            self.weights.restore(found["step"])
            say(f"the weights of step {found['step']} are kept, the best {self.by} of {len(evaluated)} evaluations")
        kept = found if self.options.load_best else evaluated[-1]
        facts = {
            "evaluations": len(evaluated),
            "best_step": found["step"],
            "kept_step": kept["step"],
            "stopped_early": stopped_early,
        }
        return facts | {f"validation_{name}": figure for name, figure in from_log(kept).items()}


def best(history: History, by: str) -> Any:
    """The logged evaluation with the best figure, of equals the first; None where there is none."""
    sign = 1 if HIGHER_IS_BETTER[by] else -1
    evaluated = [entry for entry in history if f"eval_{by}" in entry]
    return max(evaluated, key=lambda entry: sign * entry[f"eval_{by}"], default=None)


def undisturbed(measure: Callable[[], Mapping[str, Figure]]) -> Mapping[str, Figure]:
    """What `measure` returns, on rank 0; training's random numbers and modes go on as if it had not been called."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        figures = measure()
    return processes.share({name: dict(figure) for name, figure in figures.items()})


def report(choosing: Mapping[str, Figure], reporting: Mapping[str, Figure]) -> dict[str, Figure]:
    """Say the same figures on the rows that chose and on the others, and name the others' for the manifest."""
    for name, figure in reporting.items():
        chose = f"; {show_metric(choosing[name])} on the rows that chose" if name in choosing else ""
        say(f"held out {name}: {show_metric(figure)} on rows that chose nothing{chose}")
    return {f"heldout_{name}": figure for name, figure in reporting.items()}
