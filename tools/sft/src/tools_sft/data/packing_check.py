"""Whether a model keeps packed examples apart: tried once, on the model itself, before training begins."""

from __future__ import annotations

from tools_shared.models.adapters import TOLERANCES
from tools_shared.models.load import Loaded

TEXTS = ("A tank of 60 litres loses 4 litres an hour.", "Which of the five towns lies farthest from the sea?")


def contaminates(loaded: Loaded) -> bool:
    """Whether two texts in one row, told apart by their positions alone, have other log-probabilities than each has by
    itself: OPT's attention does not look at the positions, and recurrent models (Mamba) carry the first text on."""
    import torch

    model = loaded.model
    was_training = model.training
    texts = [loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    with torch.inference_mode():
        model.eval()
        apart = [_log_probs(model, [ids]) for ids in texts]
        packed = _log_probs(model, texts)
        model.train(was_training)
    worst = (packed - torch.cat(apart)).abs().max().item()
    return not worst <= TOLERANCES.get(str(model.dtype), 5e-2) * packed.std().item()


def _log_probs(model, texts: list[list[int]]):
    """(tokens, vocabulary) of texts that stand in one row."""
    import torch

    ids = torch.tensor([[token for text in texts for token in text]], device=model.device)
    positions = torch.tensor([[i for text in texts for i in range(len(text))]], device=model.device)
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)
