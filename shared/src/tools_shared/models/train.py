"""Making a model trainable: LoRA on all linear layers, the same adapter continued, or every weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tools_shared.config import option
from tools_shared.errors import ToolError
from tools_shared.models.load import Loaded, ModelConfig, attach


@dataclass(frozen=True)
class LoraOptions(ModelConfig):
    """The options of every command that trains."""

    adapter: Literal["continue", "merge", "new"] = option(
        "continue",
        "What to do with the base model's adapter: train it further; fold it into the weights and train a new one on "
        "them; or leave it out and train a new one on its base.",
    )
    full_finetune: bool = option(False, "Train every weight instead of a LoRA adapter.")
    lora_r: int = option(8, "Rank of a new LoRA adapter.", minimum=1)
    lora_alpha: int = option(16, "Scale of a new LoRA adapter: its output is multiplied by alpha / r.", minimum=1)
    lora_dropout: float = option(0.0, "Dropout before a new LoRA adapter.", minimum=0, maximum=1)
    lora_target: tuple[str, ...] = option(("all-linear",), "Layers that a new LoRA adapter goes on; repeatable.")
    merge: bool = option(False, "Also save the merged weights, in merged/, and verify them.")


def make_trainable(loaded: Loaded, options: LoraOptions) -> Loaded:
    """Give a model, loaded without its adapter, what is to be trained.

    The weights that stay frozen keep their number format; those that are trained are float32. Draws a new
    adapter's values from torch's global generator, so seed it before.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    model, ref = loaded.model, loaded.ref
    if ref.adapter is not None and options.adapter == "continue" and not options.full_finetune:
        return Loaded(attach(model, ref.adapter, trainable=True), loaded.tokenizer, ref)
    if ref.adapter is not None and options.adapter != "new":
        model = attach(model, ref.adapter, trainable=False).merge_and_unload(safe_merge=True)
    if options.full_finetune:
        return Loaded(model.to(torch.float32).requires_grad_(True), loaded.tokenizer, ref)
    targets = list(options.lora_target)
    lora = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        task_type="CAUSAL_LM",
    )
    try:
        return Loaded(get_peft_model(model, lora), loaded.tokenizer, ref)
    except ValueError as error:
        raise ToolError(f"--lora-target {' '.join(targets)}: {' '.join(str(error).split())}") from error


def saves_full_weights(loaded: Loaded, options: LoraOptions) -> bool:
    """Whether the result cannot be told as an adapter on the base that the user named: then whole weights are saved."""
    return options.full_finetune or (loaded.ref.adapter is not None and options.adapter == "merge")
