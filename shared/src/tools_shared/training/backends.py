"""What a training loop asks of the place where the weights are, and nothing of how it is done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tools_shared.engines import Engine


@dataclass(frozen=True)
class TokenRow:
    """One sequence of a batch: n tokens, of which n - 1 are predicted.

    `weights[i]` is the share of predicted token i + 1 in the loss, 0 where it is not learned. With a policy loss it is
    its advantage, and `logprobs[i]` its log-probability when it was sampled (0 in the prompt).
    """

    token_ids: tuple[int, ...]
    weights: tuple[float, ...]
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Loss:
    """`cross_entropy`: sum of weight x -log p. `importance_sampling`: sum of -(ratio x advantage). `ppo`: the same with
    the ratio clipped to `low` and `high` (Schulman et al. 2017, equation 7)."""

    name: Literal["cross_entropy", "importance_sampling", "ppo"] = "cross_entropy"
    low: float = 0.8
    high: float = 1.2


@dataclass(frozen=True)
class Update:
    """One optimiser step: its learning rate, and what the backend is told about AdamW."""

    learning_rate: float
    weight_decay: float = 0.0
    max_grad_norm: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """What a step said: of each row the log-probabilities of its n - 1 predicted tokens before the update, and the
    backend's own figures."""

    logprobs: Sequence[Sequence[float]]
    metrics: Mapping[str, float] = field(default_factory=dict)


class Backend(Protocol):
    """Weights that can be updated, sampled from and kept. `step` counts the updates that they have had."""

    step: int
    source: str
    """Who computes, as a run's cost names it: a service's address and model."""

    def update(self, rows: Sequence[TokenRow], loss: Loss, update: Update) -> StepResult:
        """Make one optimiser step and keep the state after it, so that a killed run continues from there."""
        ...

    def engine(self) -> Engine:
        """Samples from the weights as they are now."""
        ...
