"""TRL's SFTTrainer with the schedule that all of our trainers follow, and less arithmetic for the same result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import PreTrainedModel
from trl import SFTTrainer
from trl.kernels import chunked_logprob

from tools_sft.config import CPU_TILE
from tools_shared.training.packing import PackedRow, Tree, alike, forward_options, plant, share_prompts, why_not
from tools_shared.training.schedule import Scheduled

WIDE = 128
"""Inner dimension from which a matrix product is worth keeping: LoRA's second factor is not, as its result is as large
as the layer's and takes little work (its inner dimension is the rank)."""
PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


class SftTrainer(Scheduled, SFTTrainer):
    """Multiplies by the vocabulary only the hidden states that predict a learned token. Where that is exact for the
    model, it computes no padding, and only once what rows of a batch share at their beginning, such as the profile's
    instruction.

    TRL's fused head leaves out what is not learned on GPUs; elsewhere it takes all positions. The losses are the same
    up to the order in which they are summed.
    """

    learned: torch.Tensor | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        inner.base_model.register_forward_hook(self._learned_only)
        self.packs = why_not(self.model.config) is None and not self.aux_loss_enabled and not _drops_out(self.model)
        if self.packs:
            share_prompts(inner)
        if not self.args.gradient_checkpointing:
            keep_products(inner)
        if self.args.device.type == "cpu":
            chunked_logprob.TOKEN_CHUNK_SIZE = CPU_TILE

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        """See TRL's; `inputs` hold `labels` (rows, tokens), -100 where nothing is learned."""
        if self.packs:
            given = forward_options(tree_of(inputs))
            # TRL counts the tokens of a step by the sum of their mask.
            given["attention_mask"] += sum(len(ids) for _, ids, _ in examples_of(inputs))
            return super().compute_loss(model, given, *args, **options)
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
        learned = inputs["labels"][:, 1:] != -100
        if self.packs:
            tree = tree_of(inputs)
            given, owners = forward_options(tree), tree.rows
        else:
            labels = inputs.pop("labels")[:, 1:][learned][None]
            given, owners, self.learned = {**inputs, "shift_labels": labels}, learned.nonzero()[:, 0], learned
        was_training = self.model.training
        self.model.eval()
        try:
            with self.compute_loss_context_manager():
                found = self.model(**given, fused_lm_head=True).log_probs[0]
        finally:
            self.learned = None
            self.model.train(was_training)
        sums = torch.zeros(len(rows), dtype=torch.float64).index_add(0, owners.cpu(), -found.double().cpu())
        return list(zip(sums.tolist(), learned.sum(dim=1).tolist(), strict=True))

    def _learned_only(self, module: Any, args: Any, output: Any) -> Any:
        """The backbone's hidden states (1, learned tokens, width) within a loss; as they are elsewhere."""
        if self.learned is not None:
            output.last_hidden_state = output.last_hidden_state[:, :-1][self.learned][None]
        return output


def _drops_out(model: torch.nn.Module) -> bool:
    """Whether two copies of the same tokens would be computed differently while training."""
    layers = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    return layers or bool(getattr(model.config.get_text_config(), "attention_dropout", 0.0))


def tree_of(batch: dict[str, torch.Tensor]) -> Tree:
    """The examples of a collated batch packed for one forward; with none that is learned, one token of it, and no
    label: every process of a run takes part in each pass."""
    rows = alike([(i, ids, [label != -100 for label in labels]) for i, ids, labels in examples_of(batch)])
    ids = batch["input_ids"]
    return plant(rows or [PackedRow(0, (int(ids[0, 0]),), (-100,))], ids.device)


def examples_of(batch: dict[str, torch.Tensor]) -> list[tuple[int, list[int], list[int]]]:
    """Of each example of a collated batch its row, tokens and labels, without padding."""
    ids, labels = batch["input_ids"].tolist(), batch["labels"].tolist()
    if "position_ids" not in batch:
        widths = batch["attention_mask"].sum(dim=1).tolist()
        return [(i, one[:n], marks[:n]) for i, (one, marks, n) in enumerate(zip(ids, labels, widths, strict=True))]
    examples = []
    for i, places in enumerate(batch["position_ids"].tolist()):
        starts = [j for j, place in enumerate(places) if place == 0] + [len(places)]
        examples += [(i, ids[i][a:b], labels[i][a:b]) for a, b in pairwise(starts)]
    return examples


def keep_products(model: PreTrainedModel) -> None:
    """Have the layers of a model, in training, keep their matrix products and attention alone.

    Normalisation, rotation, SiLU and products of numbers take a few per cent of a layer's time and half of what
    autograd keeps of it. They are computed once more when the layer's gradients are; the numbers are the same.
    """
    if model.supports_gradient_checkpointing:
        contexts = partial(create_selective_checkpoint_contexts, _policy)
        model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})


def _policy(_: Any, op: Any, *args: Any, **__: Any) -> CheckpointPolicy:
    wide = op in PRODUCTS and args[-1].shape[0] >= WIDE
    attention = "_scaled_dot_product" in str(op)
    return CheckpointPolicy.MUST_SAVE if wide or attention else CheckpointPolicy.PREFER_RECOMPUTE
