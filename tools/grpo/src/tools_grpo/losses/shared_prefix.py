"""TRL's GRPOTrainer with less arithmetic and the same result: a shared prefix per group, no zero-variance groups.

The losses are TRL's own, on log-probabilities that come another way. What is left out keeps its place in the batch and
in the loss's denominator, so every normalisation stays what it was.
"""

from __future__ import annotations

import os
from typing import Any

# TRL says at every start that bringing one's own sampler is experimental; the version is pinned.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
from peft import PeftModel
from trl import GRPOConfig as TrlConfig
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from tools_grpo.losses.importance_sampling import corrected, over_processes, refuse_another_model
from tools_shared.console import say
from tools_shared.training.packing import PackedRow, forward_options, plant, rows_of, share_prompts, why_not

__all__ = ["SharedPrefixTrainer", "TrlConfig", "without_noise"]
NOISE = 1e-3
"""The advantages of a group whose rewards are all equal are 0 but for rounding, which 1 / 1e-4 makes larger."""


class SharedPrefixTrainer(GRPOTrainer):
    """Packs each group under one prompt where that is exact for the model; where it is not, says so with a message."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.live: torch.Tensor | None = None
        self.known: torch.Tensor | None = None
        self.uncorrected: dict[str, Any] | None = None
        reason = why_not(self.model.config)
        if self.aux_loss_enabled:
            reason = "its experts are balanced by a loss over the padded batch"
        self.shares_prompts = reason is None
        if reason is None:
            for model in filter(None, (self.model, self.ref_model)):
                inner = self.accelerator.unwrap_model(model)
                share_prompts(inner.get_base_model() if isinstance(inner, PeftModel) else inner)
        else:
            say(f"prompts are read once for every completion, as TRL does it: {reason}")

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """As TRL, but for the order: it shuffles completions over the forward passes of a step, which would part the
        groups. All of them belong to one update, so the order has no other effect."""
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        n_parts = self.args.steps_per_generation
        if self._step % (n_parts * self.num_iterations) == 0 or self._buffered_inputs is None:
            scored = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = split_tensor_dict(scored, n_parts)
        return self._buffered_inputs[self._step % n_parts]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if self.model.training:
            output["advantages"] = without_noise(output["advantages"], self.num_generations)
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        # The KL penalty moves a completion whatever its advantage is.
        if self.beta == 0 and self.shares_prompts:
            self.live, self.known = inputs["advantages"] != 0, inputs.get("old_per_token_logps")
        # In TRL's losses this means the weights of `correction`; its own vLLM is not started by it.
        self.use_vllm = self.vllm_importance_sampling_correction and "sampling_per_token_logps" in inputs
        self.uncorrected = inputs if self.use_vllm else None
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self.live = self.known = self.uncorrected = None
            self.use_vllm = False

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """See TRL's. Within a loss, what weighs completions that another program sampled is found on the way."""
        if not self.shares_prompts:
            found = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, **more
            )
        else:
            found = self._shared(model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy)
        if self.uncorrected is not None:
            mode = self.vllm_importance_sampling_mode
            mine = corrected(self.uncorrected, found[0], mode, self.live if self.shares_prompts else None)
            values = over_processes(self.accelerator.gather(mine[None]))
            refuse_another_model(values, self.state.global_step + 1)
            for name, value in values.items():
                self._metrics["train"][name].append(value)
        return found

    def _shared(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None,
        compute_entropy: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Completions left out have the log-probability that they had (a ratio of 1) and the others' mean entropy,
        which leaves the logged mean that of the others."""
        size = batch_size or len(input_ids)
        parts = [
            self._packed(model, input_ids[i : i + size], attention_mask[i : i + size], logits_to_keep)
            for i in range(0, len(input_ids), size)
        ]
        logps, entropies = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return logps, entropies if compute_entropy else None, None

    def _packed(
        self, model: Any, ids: torch.Tensor, mask: torch.Tensor, n_new: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities and entropies (B, C) of the live completions of a padded batch."""
        rows = rows_of(ids, mask, n_new, self.live)
        # With nothing to compute, one token still goes through: every process of a run has to take part in each pass.
        tree = plant(rows or [PackedRow(0, (0,), (0,))], ids.device)
        with self.accelerator.autocast():
            outputs = model(**forward_options(tree), fused_lm_head=True)
        found, entropy = outputs.log_probs[0], outputs.entropy
        logps = found.new_zeros(len(ids), n_new) if self.known is None else self.known.to(found.dtype)
        mean = entropy[0].detach().mean() if rows and entropy is not None else found.new_tensor(torch.nan)
        # TRL's mean is over all processes, and one that is not a number would be that of none.
        over_all = self.accelerator.gather(mean[None]).nanmean()
        if not rows:
            return logps + 0.0 * found.sum(), over_all.expand(len(ids), n_new)
        at = (tree.rows, tree.columns)
        if entropy is None:  # the reference model has only log-probabilities
            return logps.index_put(at, found), torch.zeros_like(logps)
        return logps.index_put(at, found), mean.expand(len(ids), n_new).index_put(at, entropy[0])


def without_noise(advantages: torch.Tensor, n_generations: int) -> torch.Tensor:
    """The advantages (B,) with those of groups whose rewards are all equal made exactly 0."""
    groups = advantages.view(-1, n_generations)
    flat = (groups == groups[:, :1]).all(dim=1, keepdim=True) & (groups.abs() < NOISE)
    return groups.masked_fill(flat, 0.0).view(-1)
