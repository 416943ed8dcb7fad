"""A `Backend` on this machine, in plain torch: what a service does with rows, for tests of the loop and its batches."""

from __future__ import annotations

import torch

from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.models import resolve
from tools_shared.training.backends import Loss, StepResult, TokenRow, Update
from tools_shared.training.trainable import LoraOptions, load_trainable


class TorchBackend:
    """See `tools_shared.training.backends.Backend`; rows go through the model one by one."""

    source = "this machine"

    def __init__(self, spec: str = "demo", seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.loaded = load_trainable(resolve(spec), LoraOptions(dtype="fp32", device="cpu"))
        self.optimiser = torch.optim.AdamW([p for p in self.loaded.model.parameters() if p.requires_grad])
        self.step = 0

    def update(self, rows: list[TokenRow], loss: Loss, update: Update) -> StepResult:
        for group in self.optimiser.param_groups:
            group |= {"lr": update.learning_rate, "weight_decay": update.weight_decay}
        self.optimiser.zero_grad()
        found = []
        for row in rows:
            ids = torch.tensor([row.token_ids])
            now = self.loaded.model(input_ids=ids[:, :-1]).logits[0].log_softmax(-1)
            now = now.gather(1, ids[0, 1:, None])[:, 0]
            self._loss(row, loss, now).backward()
            found.append(now.tolist())
        self.optimiser.step()
        self.step += 1
        return StepResult(found)

    def _loss(self, row: TokenRow, loss: Loss, now: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor(row.weights)
        if row.logprobs is None:
            return -(weights * now).sum()
        ratio = (now - torch.tensor(row.logprobs)).exp()
        return -torch.minimum(ratio * weights, ratio.clamp(loss.low, loss.high) * weights).sum()

    def engine(self) -> TransformersEngine:
        return TransformersEngine(self.loaded.model, self.loaded.tokenizer)
