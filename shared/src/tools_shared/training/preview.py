"""What `--dry-run` prints: everything that is known before weights are loaded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tools_shared.config import Config
from tools_shared.prompts import Example
from tools_shared.training.memory import Memory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BEGIN, END = "⟦", "⟧"
"""Around what is learned."""


def marked(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    """An example's text as the model sees it, special tokens included, the learned parts between ⟦ and ⟧."""
    text, start = "", 0
    ids, mask = example.token_ids, example.loss_mask
    for i in range(1, len(ids) + 1):
        if i == len(ids) or mask[i] != mask[start]:
            part = tokenizer.decode(list(ids[start:i]), skip_special_tokens=False)
            text += f"{BEGIN}{part}{END}" if mask[start] else part
            start = i
    return text


def n_steps(n_batches: int, accumulation: int, epochs: float, max_steps: int) -> int:
    """Optimiser steps, as the trainer counts them."""
    if max_steps > 0:
        return max_steps
    return math.ceil(epochs * max(1, math.ceil(n_batches / accumulation)))


def preview(config: Config, prompt: str, counts: str, memory: Memory | None) -> str:
    """The configuration as YAML, the first prompt, the counts and the memory."""
    import yaml

    values: dict[str, Any] = config.to_dict()
    return "\n".join(
        [
            "# configuration",
            yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip(),
            "",
            f"# first prompt as the model will see it; {BEGIN}learned{END}",
            prompt.rstrip("\n"),
            "",
            "# counts",
            counts,
            *([str(memory)] if memory else []),
        ]
    )
