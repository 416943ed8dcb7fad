"""Attention of one token a slot, without copies of the keys and values that query heads share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

GROUPED = "grouped_slots"


@contextmanager
def grouped(model: PreTrainedModel) -> Iterator[None]:
    """Let the model attend with `_attend` for one step, where it would have used torch's attention."""
    config = model.config.get_text_config()
    usual = config._attn_implementation
    if usual == "sdpa":
        config._attn_implementation = GROUPED
    try:
        yield
    finally:
        config._attn_implementation = usual


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one token a row, (slots, heads, 1, head size): the query heads that share a key-value head go as
    that many queries. The library's copies keys and values for each of them at every step when there is a mask."""
    n_rows, n_heads, _, head_size = query.shape
    grouped = query.view(n_rows, key.shape[1], n_heads // key.shape[1], head_size)
    output = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=scaling
    )
    return output.reshape(n_rows, 1, n_heads, head_size), None


AttentionInterface.register(GROUPED, _attend)
