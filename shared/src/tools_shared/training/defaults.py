"""The learning rate and the number of epochs where the user gives none.

The best rate falls with a model's width, and that of LoRA is about ten times that of full fine-tuning, whatever the
rank (Schulman et al. 2025, "LoRA Without Regret"). With h the width of the hidden states:

    LoRA               5e-4 (2000 / h)^0.8, at most 2e-3
    full fine-tuning   a tenth of that

An 8B model (h = 4,096) gets 2.8e-4, one of 1.5B (1,536) 6.2e-4, SmolLM2-135M (576) 1.4e-3, the demo 2e-3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PEAK = 2e-3
"""Highest rate of the rule."""
FORMAT_STEPS = 64
"""Optimiser steps in which a stage that teaches the answer format teaches it, on the demo and on SmolLM2."""
MOST_EPOCHS = 16


def learning_rate(config: PreTrainedConfig, full_finetune: bool) -> float:
    """The rule's peak learning rate, to two digits."""
    width = config.get_text_config().hidden_size
    rate = min(PEAK, 5e-4 * (2000 / width) ** 0.8) / (10 if full_finetune else 1)
    return float(f"{rate:.1e}")


def format_epochs(n_examples: int, step_examples: int) -> float:
    """Passes over the rows that make FORMAT_STEPS steps of few rows; at least 1, at most MOST_EPOCHS."""
    steps = max(1, math.ceil(n_examples / step_examples))
    return float(min(MOST_EPOCHS, max(1, math.ceil(FORMAT_STEPS / steps))))
