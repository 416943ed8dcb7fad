"""What of a layer's activations is kept for the backward pass: results of matrix products, and not what is cheap.

Normalisation, rotation, SiLU and products of numbers take a few per cent of a layer's time and more than half of what
autograd keeps of it. They are computed once more when the layer's gradients are; the numbers are the same.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts
from transformers import PreTrainedModel

WIDE = 128
"""Numbers that are added up for one of a product's, from which on the product is worth keeping: LoRA's second factor,
whose result is as large as the layer's and takes a rank's worth of work, is not."""
PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def keep_products(model: PreTrainedModel) -> None:
    """Have the layers of a model, in training, keep their matrix products and attention alone."""
    if model.supports_gradient_checkpointing:
        contexts = partial(create_selective_checkpoint_contexts, _policy)
        model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": contexts})


def _policy(_: Any, op: Any, *args: Any, **__: Any) -> CheckpointPolicy:
    wide = op in PRODUCTS and args[-1].shape[0] >= WIDE
    attention = "_scaled_dot_product" in str(op)
    return CheckpointPolicy.MUST_SAVE if wide or attention else CheckpointPolicy.PREFER_RECOMPUTE
