"""Adapters as PEFT saves them, and what a model computes."""

import warnings

import torch

TOKENS = torch.arange(3, 30)[None]


def logits(model, ids=TOKENS):
    with torch.inference_mode():
        return model.eval()(input_ids=ids).logits


def save_moved(model, folder):
    """Save an adapter with each of its trained tensors away from its initial value."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
