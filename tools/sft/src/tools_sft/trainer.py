"""TRL's SFTTrainer with the schedule that all of our trainers follow, and a head that sees only what is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer
from trl.kernels import chunked_logprob

from tools_sft.config import CPU_TILE
from tools_shared.training.schedule import Scheduled


class SftTrainer(Scheduled, SFTTrainer):
    """Multiplies by the vocabulary only the hidden states that predict a learned token.

    TRL's fused head does so on GPUs; elsewhere it takes all positions, prompts and padding too. The losses are the same
    up to the order in which they are summed.
    """

    learned: torch.Tensor | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        inner.base_model.register_forward_hook(self._learned_only)
        if self.args.device.type == "cpu":
            chunked_logprob.TOKEN_CHUNK_SIZE = CPU_TILE

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        """See TRL's; `inputs` hold `labels` (rows, tokens), -100 where nothing is learned."""
        labels = inputs["labels"][:, 1:]
        learned = labels != -100
        if not learned.any():  # a process's share of a step can be a row that was cut before its completion
            learned = torch.zeros_like(learned)
            learned[0, 0] = True
        given = {name: value for name, value in inputs.items() if name != "labels"}
        self.learned = learned
        try:
            return super().compute_loss(model, {**given, "shift_labels": labels[learned][None]}, *args, **options)
        finally:
            self.learned = None

    @torch.no_grad()
    def loss_sums(self, rows: Sequence[dict[str, Any]]) -> list[tuple[float, int]]:
        """Of each row the cross-entropy summed over its learned tokens, and their number. All processes call it, each
        with as many rows: sharded weights are gathered in every forward pass."""
        inputs = {name: part.to(self.args.device) for name, part in self.data_collator(rows).items()}
        labels = inputs.pop("labels")[:, 1:]
        self.learned = labels != -100
        was_training = self.model.training
        self.model.eval()
        try:
            with self.compute_loss_context_manager():
                found = self.model(**inputs, shift_labels=labels[self.learned][None], fused_lm_head=True).log_probs[0]
        finally:
            counts = self.learned.sum(dim=1).tolist()
            self.learned = None
            self.model.train(was_training)
        return [(-part.double().sum().item(), n) for part, n in zip(found.float().split(counts), counts, strict=True)]

    def _learned_only(self, module: Any, args: Any, output: Any) -> Any:
        """The backbone's hidden states (1, learned tokens, width) within a loss; as they are elsewhere."""
        if self.learned is not None:
            output.last_hidden_state = output.last_hidden_state[:, :-1][self.learned][None]
        return output
