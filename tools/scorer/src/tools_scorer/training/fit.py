"""The training loop: Adam over shuffled rows, the best epoch by validation loss, resumed after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.config.scorer import Recipe
from tools_scorer.evaluation.metrics import question_aurocs
from tools_scorer.training.rows import Feed
from tools_shared.console import progress
from tools_shared.files import atomic_write
from tools_shared.scorers.scorer import probe
from tools_shared.stats.auroc import auroc

if TYPE_CHECKING:
    import numpy as np
    import torch

STATE = "state.safetensors"
_MOST_PAIRS = 2_000_000


@dataclass
class FitProgress:
    """The state of training after `epoch` epochs; `history` has one entry an epoch."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)

    def is_over(self, settings: Recipe) -> bool:
        return self.epoch >= settings.epochs or self.epoch - self.best_epoch >= settings.patience


@dataclass(frozen=True)
class Fitted:
    """The networks on standardised inputs, of the best and of the last epoch."""

    best: torch.nn.Module
    last: torch.nn.Module
    progress: FitProgress


def fit(
    train: Feed,
    validation: Feed,
    settings: Recipe,
    seed: int,
    folder: Path,
    log: Callable[[dict[str, Any]], None],
) -> Fitted:
    """Train until the last epoch or until patience ends; after each epoch `folder` holds all that is needed to go on.

    A run that is killed and resumed ends with the same weights as one that is not.
    """
    import torch

    torch.manual_seed(seed)
    module = probe(train.rows.input_size, settings.hidden)
    best = probe(train.rows.input_size, settings.hidden)
    best.load_state_dict(module.state_dict())
    optimizer = torch.optim.Adam(
        module.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    done = _take_up(folder / STATE, module, best, optimizer)
    loss_of = _losses(train, settings)
    with progress(total=settings.epochs, label="training", unit="epoch") as bar:
        bar.update(done.epoch)
        while not done.is_over(settings):
            train_loss = _epoch(module, optimizer, train, settings, seed, done.epoch, loss_of)
            logits = _validation_logits(module, validation)
            loss = _validation_loss(logits, validation, settings, loss_of)
            done.epoch += 1
            if loss < done.best_loss:
                done.best_loss, done.best_epoch = loss, done.epoch
                best.load_state_dict(module.state_dict())
            entry = {"step": done.epoch, "train_loss": round(train_loss, 6), "validation_loss": round(loss, 6)}
            entry |= validation_metrics(logits.double().numpy(), validation, settings)
            done.history.append(entry)
            log(entry)
            _save(folder / STATE, module, best, optimizer, done)
            bar.update()
    return Fitted(best, module, done)


def _epoch(
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    train: Feed,
    settings: Recipe,
    seed: int,
    epoch: int,
    loss_of: Callable,
) -> float:
    """One pass; returns the mean of the batches' losses."""
    total, n = 0.0, 0
    first, rest = _FirstLayer(module.net[0], train.dtype), module.net[1:]
    for x, rows in train.batches(settings.batch_size, (seed, epoch), together=settings.loss == "pairwise"):
        hidden = first.forward(x).requires_grad_()
        loss = loss_of(rest(hidden).squeeze(-1), train.rows, rows)
        if loss is None:
            continue
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        first.backward(x, hidden.grad)
        optimizer.step()
        total, n = total + float(loss.detach()), n + 1
    return total / max(n, 1)


class _FirstLayer:
    """The first layer, worked out by hand in the format of its input.

    It holds nearly all of the weights. Autograd makes its gradient and its bf16 copy again at each step, and the pages
    of megabytes that come and go cost more than the products; here they are kept.
    """

    def __init__(self, layer: torch.nn.Linear, dtype: torch.dtype) -> None:
        import torch

        self._layer = layer
        self._gradient = torch.empty_like(layer.weight.detach())
        self._plain = dtype == layer.weight.dtype
        self._weight = layer.weight.detach() if self._plain else torch.empty_like(self._gradient, dtype=dtype)
        self._product = self._gradient if self._plain else torch.empty_like(self._weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, width] in float32, not part of any graph."""
        import torch

        if not self._plain:
            self._weight.copy_(self._layer.weight.detach())
        return torch.mm(x, self._weight.t()).float() + self._layer.bias.detach()

    def backward(self, x: torch.Tensor, gradient: torch.Tensor) -> None:
        """Set the layer's gradients from that of its output."""
        import torch

        torch.mm(gradient.to(x.dtype).t(), x, out=self._product)
        if not self._plain:
            self._gradient.copy_(self._product)
        self._layer.weight.grad, self._layer.bias.grad = self._gradient, gradient.sum(0)


def _forward(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Logits in float32; matrix products in the format of `x`."""
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        return module(x).float()


def _losses(train: Feed, settings: Recipe) -> Callable:
    """The loss of a batch: (logits, row set, positions in it) to a scalar, or None where a batch holds no pair."""
    import torch
    from torch.nn import functional

    rows = train.rows
    right = float((rows.weight * rows.label).sum())
    ratio = (float(rows.weight.sum()) - right) / right if settings.class_weight else 1.0
    pos_weight = torch.tensor(ratio)

    def bce(logits: torch.Tensor, of: Any, at: np.ndarray) -> torch.Tensor:
        labels, weights = torch.from_numpy(of.label[at]), torch.from_numpy(of.weight[at])
        return functional.binary_cross_entropy_with_logits(logits, labels, weights, pos_weight=pos_weight)

    def pairwise(logits: torch.Tensor, of: Any, at: np.ndarray) -> torch.Tensor | None:
        labels, weights = torch.from_numpy(of.label[at]), torch.from_numpy(of.weight[at])
        questions = torch.from_numpy(of.question[at])
        i, j = torch.where((questions[:, None] == questions) & (labels[:, None] > labels))
        if not len(i):
            return None
        weight = weights[i] * weights[j]
        return (functional.softplus(logits[j] - logits[i]) * weight).sum() / weight.sum()

    return bce if settings.loss == "bce" else pairwise


def _validation_logits(module: torch.nn.Module, feed: Feed) -> torch.Tensor:
    """[n], in the order of the rows."""
    import torch

    with torch.inference_mode():
        return into_one(len(feed.rows), (_forward(module, x) for x in feed.in_order()))


def validation_metrics(logits: np.ndarray, feed: Feed, settings: Recipe) -> dict[str, float]:
    """How well the steps' logits tell right from wrong: AUROC over all, AUROC within a question (where one has both),
    and, for bce, the share of steps on the right side of 0. Calibration moves none of the AUROCs.
    """
    labels, questions = feed.rows.label.astype("f8"), feed.rows.question
    within = question_aurocs(labels, logits, questions)
    found = {"validation_auroc": auroc(labels, logits)}
    if within:
        found["validation_auroc_within"] = sum(within.values()) / len(within)
    if settings.loss == "bce":  # pairs say nothing of where the boundary lies
        found["validation_accuracy"] = float(((logits > 0) == (labels > 0.5)).mean())
    return {name: round(value, 6) for name, value in found.items()}


def _validation_loss(logits: torch.Tensor, feed: Feed, settings: Recipe, loss_of: Callable) -> float:
    """Over all rows for bce; for pairs over blocks that hold whole questions as far as they are neighbours."""
    import numpy as np
    import torch

    with torch.inference_mode():
        if settings.loss == "bce":
            return float(loss_of(logits, feed.rows, np.arange(len(logits))))
        order = np.argsort(feed.rows.question, kind="stable")
        size = max(2, int(_MOST_PAIRS**0.5))
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        losses = [loss_of(logits[torch.from_numpy(part)], feed.rows, part) for part in parts]
        known = [float(loss) for loss in losses if loss is not None]
        return sum(known) / len(known) if known else float("inf")


def into_one(n: int, parts: Iterable[torch.Tensor]) -> torch.Tensor:
    """The parts joined, [n]. Kept apart until the end, they would lie between blocks and hold the heap open."""
    import torch

    joined, start = torch.empty(n), 0
    for part in parts:
        joined[start : start + len(part)] = part
        start += len(part)
    return joined


def _save(path: Path, module: torch.nn.Module, best: torch.nn.Module, optimizer: Any, done: FitProgress) -> None:
    """One file, so that a kill leaves either the epoch before or this one."""
    from safetensors.torch import save

    tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v for k, v in state.items()}
    with atomic_write(path, "wb") as file:
        file.write(save(tensors, metadata={"progress": json.dumps(asdict(done))}))


def _take_up(path: Path, module: torch.nn.Module, best: torch.nn.Module, optimizer: Any) -> FitProgress:
    """Load what a killed run left; a new start when there is nothing."""
    from safetensors import safe_open

    if not path.exists():
        return FitProgress()
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    for prefix, target in (("module.", module), ("best.", best)):
        target.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam."):
            _, i, key = name.split(".")
            state.setdefault(int(i), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return read_progress(path)


def read_progress(path: Path) -> FitProgress:
    """The state of the run that left this file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return FitProgress(**json.loads(file.metadata()["progress"]))
