"""The training loop of backends that are told rows and answer with log-probabilities: one step after another, logged,
guarded, and stopped in order. What a batch is made of is the caller's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tools_shared.console import say
from tools_shared.costs.meter import note
from tools_shared.costs.record import TRAINING
from tools_shared.errors import Incomplete
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs import Draft
from tools_shared.training.backends import Backend, Loss, TokenRow, Update
from tools_shared.training.guards import Guard
from tools_shared.training.rates import rate, warmup_steps


@dataclass(frozen=True)
class StepPlan:
    """How many steps there are, and what each is told about the optimiser."""

    n_steps: int
    learning_rate: float
    lr_scheduler: str
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    logging_steps: int

    def update(self, done: int) -> Update:
        """Of the step that follows `done` others; the schedule is that of `tools_shared.training.rates`."""
        share = rate(self.lr_scheduler, done, warmup_steps(self.warmup_ratio, self.n_steps), self.n_steps)
        return Update(self.learning_rate * share, self.weight_decay, self.max_grad_norm)


@dataclass(frozen=True)
class Batch:
    """The rows of one step, their loss, and figures about them to log."""

    rows: Sequence[TokenRow]
    loss: Loss
    metrics: Mapping[str, float] = field(default_factory=dict)


def run_steps(
    backend: Backend,
    run: Draft,
    plan: StepPlan,
    batch_of: Callable[[int], Batch],
    stop: StopRequest,
    guards: Sequence[Guard],
    shown: Mapping[str, str],
) -> None:
    """Train from `backend.step` to the plan's end; `batch_of(done)` makes the batch after `done` steps.

    `shown` maps a metric's key to its name in the line on the terminal. Raises Incomplete when a signal or a guard
    ended it before its last step.
    """
    began, first = time.monotonic(), backend.step
    with stop.after_the_step():
        while backend.step < plan.n_steps and not stop.reason:
            update = plan.update(backend.step)
            batch = batch_of(backend.step)
            result = backend.update(batch.rows, batch.loss, update)
            note(sum(len(row.token_ids) for row in batch.rows), part=TRAINING, source=backend.source)
            values = {
                "loss": loss_of(batch, result.logprobs),
                "learning_rate": update.learning_rate,
                "num_tokens": sum(len(row.token_ids) for row in batch.rows),
                **off_policy(batch, result.logprobs),
                **batch.metrics,
                **result.metrics,
            }
            values["step_loss"] = values["loss"]
            _log(run, plan, backend.step, time.monotonic() - began, values, shown, first)
            for guard in guards:
                if reason := guard.look(backend.step, values):
                    stop.ask(reason)
    if stop.reason and backend.step < plan.n_steps:
        raise Incomplete(
            f"{stop.reason}; step {backend.step} of {plan.n_steps} is saved, run the same command again to go on from "
            "there"
        )


def loss_of(batch: Batch, logprobs: Sequence[Sequence[float]]) -> float:
    """The loss of `Loss`, summed over the batch, from the log-probabilities of its predicted tokens."""
    total = 0.0
    for row, now in zip(batch.rows, logprobs, strict=True):
        for i, weight in enumerate(row.weights):
            if weight:
                total -= (
                    weight * now[i] if row.logprobs is None else _surrogate(batch.loss, weight, now[i], row.logprobs[i])
                )
    return total


def off_policy(batch: Batch, logprobs: Sequence[Sequence[float]]) -> dict[str, float]:
    """How far the log-probabilities of trainer and sampler lie apart on the sampled tokens, on average: 0 where both
    compute the same model."""
    apart = [
        abs(now - then)
        for row, here in zip(batch.rows, logprobs, strict=True)
        if row.logprobs is not None
        for now, then in zip(here, row.logprobs, strict=True)
        if then
    ]
    return {"sampling/logp_difference": sum(apart) / len(apart)} if apart else {}


def _surrogate(loss: Loss, advantage: float, now: float, then: float) -> float:
    ratio = math.exp(min(now - then, 50.0))
    if loss.name == "importance_sampling":
        return ratio * advantage
    return min(ratio * advantage, min(max(ratio, loss.low), loss.high) * advantage)


def _log(
    run: Draft,
    plan: StepPlan,
    step: int,
    seconds: float,
    values: Mapping[str, float],
    shown: Mapping[str, str],
    first: int,
) -> None:
    """One line of `metrics.jsonl` for every step, which was paid for; on the terminal every `logging_steps`."""
    from tools_shared.training.callbacks import duration, shown_value

    run.log({"step": step, "seconds": round(seconds, 2), **values})
    if step % plan.logging_steps and step not in (first + 1, plan.n_steps):
        return
    words = [f"{name} {shown_value(values[key])}" for key, name in shown.items() if key in values]
    if step - first > 1 and step < plan.n_steps:
        words.append(f"left {duration(seconds / (step - first) * (plan.n_steps - step))}")
    say(f"step {step}/{plan.n_steps}  " + "  ".join(words))
