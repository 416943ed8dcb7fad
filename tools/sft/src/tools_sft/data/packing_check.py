"""Whether a model keeps packed examples apart: tried once, on the model itself, before training begins.

There are two checks, because rounding affects them differently. The text before another must not change it: with other
tokens there the same kernels run over the same shapes, so what is masked adds exactly nothing in any number format. And
a text must be read at its own positions: its log-probabilities are those that it has by itself, up to rounding. In bf16
rounding is some hundredths of their spread; here it is measured by what padding alone does to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools_shared.models.adapters import TOLERANCES
from tools_shared.models.load import Loaded

if TYPE_CHECKING:
    import torch

TEXTS = ("A tank of 60 litres loses 4 litres an hour.", "Which of the five towns lies farthest from the sea?")
LEAK = 1e-3
"""Largest effect of the text before, relative to the spread of the log-probabilities."""
ROUNDING = 4.0
"""Largest difference of a text packed and by itself, in units of what padding does to it."""
MOST = 3.0
"""Largest limit in units of the format's tolerance: positions that depend on a row's length differ by more."""


def contaminates(loaded: Loaded) -> bool:
    """Whether two texts in one row, told apart by their positions alone, see each other or are read at other positions
    than by themselves: OPT's attention does not look at the positions, and recurrent models (Mamba) carry the first
    text on."""
    import torch

    model = loaded.model
    was_training = model.training
    first, second = (loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS)
    with torch.inference_mode():
        model.eval()
        packed, alone = _log_probs(model, [first, second]), _log_probs(model, [second])
        after_another = _log_probs(model, [first[::-1], second])
        padded = _log_probs(model, [second + first])[: len(second)]  # causal: what comes later changes nothing
        model.train(was_training)
    packed, after_another = packed[len(first) :], after_another[len(first) :]
    spread = alone.std()
    tolerance = TOLERANCES.get(str(model.dtype), 5e-2) * spread
    limit = max(tolerance, min(ROUNDING * _apart(padded, alone), MOST * tolerance))
    # Written so that what is not a number contaminates.
    return not (_apart(packed, after_another) <= LEAK * spread and _apart(packed, alone) <= limit)


def _apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Root mean square of the differences of the log-probabilities (tokens, vocabulary)."""
    return (one - other).pow(2).mean().sqrt()


def _log_probs(model, texts: list[list[int]]):
    """(tokens, vocabulary) of texts that stand in one row."""
    import torch

    ids = torch.tensor([[token for text in texts for token in text]], device=model.device)
    positions = torch.tensor([[i for text in texts for i in range(len(text))]], device=model.device)
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)
