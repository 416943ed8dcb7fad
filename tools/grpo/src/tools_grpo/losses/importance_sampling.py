"""Correcting for rollouts that another program sampled: importance sampling as TRL does it, without its extra forward.

vLLM computes the same probabilities with other kernels, and in half precision they drift apart. TRL weights each
completion (or token) by the trainer's probability over vLLM's, and reads all completions once more for it. With one
update a batch the policy that is trained is still the one that sampled, so its probabilities in the training pass
are those that the weight asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from tools_shared.errors import Incomplete

MAX_RATIO = 3.0
"""TRL's `vllm_importance_sampling_clip_max`: the modes that truncate lower what is above to it, the others to 0."""


def ratios(logps: torch.Tensor, sampled: torch.Tensor, mask: torch.Tensor, mode: str) -> torch.Tensor:
    """Weights (B, C), or (B, 1) in the modes by sequence, from log-probabilities (B, C) of trainer and sampler."""
    apart = (logps - sampled) * mask
    if mode.startswith("sequence"):
        apart = apart.sum(dim=-1, keepdim=True)
    found = apart.exp()
    if mode.endswith("truncate"):
        return found.clamp(max=MAX_RATIO)
    return found.masked_fill(found > MAX_RATIO, 0.0)


def corrected(inputs: dict[str, Any], logps: torch.Tensor, mode: str, live: torch.Tensor | None) -> torch.Tensor:
    """Put the weights of a batch where TRL's losses read them; returns what to log about it, (5,).

    `live` (B,) are the completions whose `logps` (B, C) were computed; None: all. The others count nothing.
    """
    sampled, mask = inputs["sampling_per_token_logps"], inputs["completion_mask"]
    if "tool_mask" in inputs:  # what an environment wrote was sampled by nobody
        mask = mask * inputs["tool_mask"]
    before = inputs.get("old_per_token_logps")
    before = (logps if before is None else before).detach().float()
    found = ratios(before, sampled, mask, mode)
    rows = torch.ones_like(mask[:, 0], dtype=torch.bool) if live is None else live
    inputs["importance_sampling_ratio"] = torch.where(rows[:, None], found, 1.0)
    seen = mask.bool() & rows[:, None]
    return summary((before - sampled).abs()[seen], found[rows] if mode.startswith("sequence") else found[seen])


METRICS = (
    "sampling/sampling_logp_difference/mean",
    "sampling/sampling_logp_difference/max",
    "sampling/importance_sampling_ratio/min",
    "sampling/importance_sampling_ratio/mean",
    "sampling/importance_sampling_ratio/max",
)
"""TRL's names."""


def summary(apart: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """METRICS of this process; not numbers where there is nothing."""
    if not apart.numel() or not found.numel():
        return torch.full((5,), torch.nan, device=apart.device)
    return torch.stack([apart.mean(), apart.max(), found.min(), found.mean(), found.max()])


def over_processes(parts: torch.Tensor) -> dict[str, float]:
    """METRICS from those of every process, (P, 5); none when none has any."""
    parts = parts[~parts.isnan().any(dim=1)]
    if not len(parts):
        return {}
    values = [parts[:, 0].mean(), parts[:, 1].max(), parts[:, 2].min(), parts[:, 3].mean(), parts[:, 4].max()]
    return dict(zip(METRICS, (value.item() for value in values), strict=True))


def refuse_another_model(values: Mapping[str, float], step: int) -> None:
    """Raises Incomplete where METRICS say that the trained model is not what sampled: the mean token of a batch is
    further off than the weights may correct."""
    apart = values.get(METRICS[0], 0.0)
    if apart > math.log(MAX_RATIO):
        raise Incomplete(
            f"what drew the completions of step {step} is not the model that is trained: log-probabilities are "
            f"{apart:.2g} nats a token apart, more than the {math.log(MAX_RATIO):.2g} that can be corrected, and the "
            "step was not made; vLLM must serve the --base-model of this run (without vLLM: pass --dtype fp32), then "
            "run the same command again"
        )
