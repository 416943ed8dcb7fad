"""What stops a run that cannot come to anything, each with its own sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tools_shared import processes
from tools_shared.errors import Incomplete


class Guard:
    """Looks at what is logged and, before each update, at the gradients."""

    def look(self, step: int, logs: Mapping[str, Any]) -> str | None:
        """Why to stop after this step, its checkpoint written; None to go on."""
        return None

    def look_at_gradients(self, step: int, model: Any) -> None:
        """Raises Incomplete to stop before the weights are touched."""


class NotANumber(Guard):
    """Stops before an update with gradients that are not finite: no checkpoint ever holds weights made of them."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def look(self, step: int, logs: Mapping[str, Any]) -> str | None:
        loss = logs.get("loss")
        if isinstance(loss, float) and not math.isfinite(loss):
            raise self._stopped(step, "loss")
        return None

    def look_at_gradients(self, step: int, model: Any) -> None:
        import torch

        grads = [p.grad for p in model.parameters() if p.grad is not None]
        # One number comes back from the device: the norms' sum is not finite when any gradient is not.
        total = torch.stack([norm.float().cpu() for norm in _norms(grads)]).sum().item() if grads else 0.0
        # Of sharded gradients a process sees its part alone, and all have to stop.
        if processes.any_of(not math.isfinite(total)):
            raise self._stopped(step, "gradient")

    def _stopped(self, step: int, what: str) -> Incomplete:
        return Incomplete(
            f"the {what} of step {step} is not a finite number, and the step was not made; start over with "
            f"--resume never and a lower --learning-rate than {self.learning_rate:g}, or run the same command again "
            "to resume from the last checkpoint"
        )


def _norms(grads: list[Any]) -> list[Any]:
    """Each gradient's norm; of a sharded one that of this process's part."""
    import torch
    from torch.distributed.tensor import DTensor

    local = [grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads]
    return list(torch._foreach_norm(local))


class NoSpread(Guard):
    """Stops a GRPO run in which for `n_steps` steps in a row every group had zero variance: their gradient is zero."""

    def __init__(self, n_steps: int) -> None:
        self.n_steps = n_steps
        self.since: int | None = None

    def look(self, step: int, logs: Mapping[str, Any]) -> str | None:
        flat = logs.get("frac_reward_zero_std")
        if flat is None:
            return None
        if flat < 1:
            self.since = step
        self.since = 0 if self.since is None else self.since
        if not self.n_steps or step - self.since < self.n_steps:
            return None
        return (
            f"no group had reward variance for {step - self.since} steps: the model solves all of these problems "
            "or none, and nothing is learned (other problems, --temperature or --reward may help; --guard-steps 0 "
            "continues regardless)"
        )


class Truncated(Guard):
    """Stops a GRPO run whose completions were cut at the length limit more often than `share` over `n_steps` steps."""

    def __init__(self, share: float, n_steps: int) -> None:
        self.share, self.n_steps = share, n_steps
        self.seen: list[tuple[int, float]] = []

    def look(self, step: int, logs: Mapping[str, Any]) -> str | None:
        cut = logs.get("completions/clipped_ratio")
        if cut is None or not self.n_steps or self.share >= 1:
            return None
        self.seen = [(s, c) for s, c in self.seen if s > step - self.n_steps] + [(step, cut)]
        mean = sum(c for _, c in self.seen) / len(self.seen)
        if step < self.n_steps or mean <= self.share:
            return None
        return (
            f"{100 * mean:.0f} % of the completions of the last {self.n_steps} steps were cut at the length limit, "
            f"more than --max-truncated {self.share:g} (raise --max-completion-length for a new run; --max-truncated "
            "1 continues regardless)"
        )
