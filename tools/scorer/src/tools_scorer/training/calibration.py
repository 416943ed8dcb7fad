"""From logits to probabilities that mean what they say, fitted on questions that the scorer was not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools_shared.scorers.scorer import Scorer, probe

if TYPE_CHECKING:
    import numpy as np
    import torch

NEAREST_KNOTS = 1 / 32
_SMALLEST_SLOPE = 1e-3
_FURTHEST = 30.0


def fit_line(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Scale and shift (a, b) of `sigmoid(a * logit + b)` by maximum likelihood: temperature scaling (Guo et al. 2017)
    with the shift that a class weight, or a loss on pairs, makes necessary.

    Targets are smoothed as by Platt (1999, section 2.2), so that perfect separation has a finite answer. The scale
    stays positive: calibration never turns the order round.
    """
    import numpy as np

    n_right, n_wrong = float((weights * labels).sum()), float((weights * (1 - labels)).sum())
    targets = np.where(labels > 0.5, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    spread = max(float(logits.std()), 1e-6)
    x = np.stack([logits / spread, np.ones_like(logits)])
    theta = np.array([1.0, 0.0])
    for _ in range(100):
        p = _sigmoid(theta @ x)
        gradient = x @ (weights * (p - targets))
        curvature = (x * (weights * np.maximum(p * (1 - p), 1e-9))) @ x.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 4.0 / max(np.abs(step).max(), 1e-12))
        theta = theta - step
        theta[0] = max(theta[0], _SMALLEST_SLOPE)
        if np.abs(step).max() < 1e-10:
            break
    return float(theta[0] / spread), float(theta[1])


def fit_isotonic(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots (x, y) of a rising line, by pooling adjacent violators; then blocks nearer than `NEAREST_KNOTS` of the
    logits' range are pooled too, for a steeper line would show the rounding of the logits.

    Each block's share of right ones is drawn towards one half by one trial, so that no probability is 0 or 1.
    """
    import numpy as np

    order = np.argsort(logits, kind="stable")
    blocks: list[list[float]] = []  # weight, sum of labels, sum of logits
    for i in order:
        blocks.append([weights[i], weights[i] * labels[i], weights[i] * logits[i]])
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            _pool_last(blocks)
    gap = NEAREST_KNOTS * float(np.ptp(logits))
    spaced: list[list[float]] = []
    for block in blocks:
        spaced.append(block)
        if len(spaced) > 1 and spaced[-1][2] / spaced[-1][0] - spaced[-2][2] / spaced[-2][0] <= gap:
            _pool_last(spaced)
    w, right, total = np.array(spaced).T
    x, y = total / w, np.maximum.accumulate((right + 0.5) / (w + 1))
    return (x, y) if len(x) > 1 else (np.array([x[0] - 1, x[0] + 1]), np.repeat(y, 2))


def _pool_last(blocks: list[list[float]]) -> None:
    last = blocks.pop()
    blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]


def fold_scale(module: torch.nn.Module, mean: torch.Tensor, std: torch.Tensor) -> torch.nn.Module:
    """The same function of inputs that are not standardised: W / std, b - (W / std) mean, worked out in float64."""
    import torch

    folded = _copy(module)
    first = folded.net[0]
    with torch.no_grad():
        weight = module.net[0].weight.double() / std
        first.bias.copy_(module.net[0].bias.double() - weight @ mean)
        first.weight.copy_(weight)
    return folded


def fold_line(module: torch.nn.Module, a: float, b: float) -> torch.nn.Module:
    """The module whose logit is `a * logit + b`."""
    import torch

    folded = _copy(module)
    last = folded.net[-1]
    with torch.no_grad():
        last.weight.copy_(last.weight.double() * a)
        last.bias.copy_(last.bias.double() * a + b)
    return folded


def with_knots(module: torch.nn.Module, x: np.ndarray, y: np.ndarray) -> torch.nn.Module:
    """The module whose probability is the line through the knots."""
    import torch

    widths = [layer.out_features for layer in list(module.net)[:-1:2]]
    calibrated = probe(module.net[0].in_features, widths, len(x))
    calibrated.load_state_dict(
        {**module.state_dict(), "knots_x": torch.from_numpy(x).float(), "knots_y": torch.from_numpy(y).float()}
    )
    return calibrated


def uncalibrated(scorer: Scorer) -> Scorer:
    """The scorer as it was before its calibration: what a report compares with."""
    found, module = scorer.facts.calibration, scorer.module
    if scorer.facts.n_knots:
        plain = probe(scorer.facts.input_size, scorer.facts.widths)
        plain.load_state_dict({k: v for k, v in module.state_dict().items() if k.startswith("net.")})
        return Scorer(scorer.facts, plain, scorer.path)
    if found.get("method") != "temperature":
        return scorer
    return Scorer(scorer.facts, fold_line(module, 1 / found["scale"], -found["shift"] / found["scale"]), scorer.path)


def _copy(module: torch.nn.Module) -> torch.nn.Module:
    import copy

    return copy.deepcopy(module)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    import numpy as np

    return 1 / (1 + np.exp(-np.clip(x, -_FURTHEST, _FURTHEST)))
