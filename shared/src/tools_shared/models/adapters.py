"""Load an adapter onto its base, completely or not at all, and merge it with a check.

PEFT places what `adapter_config.json` names and passes over the rest: tensors of the file that belong to other layers
are dropped, and layers without a tensor in the file keep their initial values, of which LoRA's add nothing.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = "default"
PREFIX = "base_model.model."
TOLERANCES = {"torch.float32": 1e-3, "torch.bfloat16": 5e-2, "torch.float16": 1e-2}
"""Largest root mean square of the differences of log-probabilities between merged weights and adapter, relative to
their spread: rounding of the weights' number format. A single one tells little: in bf16 the unlikeliest of 49,152
tokens is 1 nat off where the mean is 0.1."""


def attach(model: PreTrainedModel, adapter: Path, trainable: bool) -> PeftModel:
    """Put a saved adapter on its base.

    Raises ToolError when its tensors and the places for them are not the same set, by name and by shape.
    """
    from peft import PeftModel

    config, tensors = read_adapter(adapter)
    resize(model, adapter, tensors)
    try:
        names = set(map(_base_name, tensors))
        own = {n: p.detach().clone() for n, p in model.named_parameters(remove_duplicate=False) if n in names}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # refused below, in one line
            attached = PeftModel.from_pretrained(model, adapter, config=config, is_trainable=trainable)
            missing, left = _placed(attached, tensors, own)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolError(f"{adapter}: this adapter is for another base model ({reason})") from error
    if left or missing:
        raise ToolError(_unfit(adapter, len(tensors), left, missing))
    # peft looks the base up by this name at every save, on the hub when it is not a folder: "demo" is neither.
    attached.peft_config[NAME].base_model_name_or_path = model.name_or_path
    return attached


def read_adapter(adapter: Path) -> tuple[PeftConfig, dict[str, torch.Tensor]]:
    """An adapter's configuration and tensors by name; where the configuration leaves the layers open, those that the
    file has tensors for. PEFT would take a layer list of its own for the architecture, and drop the other tensors."""
    from peft import PeftConfig
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (adapter / WEIGHTS).is_file():
        raise ToolError(
            f"{adapter}: no {WEIGHTS} in it; other formats of weights are not read: where they are trusted, load the "
            "adapter with PEFT and save it again (save_pretrained)"
        )
    try:
        tensors = load_file(adapter / WEIGHTS)
        config = PeftConfig.from_pretrained(str(adapter))
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ToolError(f"{adapter}: this adapter cannot be read ({' '.join(str(error).split())[:200]})") from error
    if config.is_prompt_learning:
        raise ToolError(
            f"{adapter}: a {config.peft_type.value} adapter changes the prompt; adapters on weights are read"
        )
    if getattr(config, "target_modules", "") is None and not getattr(config, "target_parameters", None):
        config.target_modules = layers_of(tensors)
    return config, tensors


def is_lora_alone(adapter: Path) -> bool:
    """Whether an adapter's file holds LoRA matrices and nothing else: no embedding of added tokens, no whole layer."""
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="numpy") as file:
        return all(".lora_A." in name or ".lora_B." in name for name in file.keys())  # noqa: SIM118 - not a dict


def layers_of(names: Iterable[str]) -> list[str]:
    """The layers that an adapter's tensors belong to, by their whole names."""
    found = {n.removeprefix(PREFIX).partition(".lora_")[0] for n in names if ".lora_" in n}
    return sorted(found)


def _placed(
    attached: PeftModel, tensors: dict[str, torch.Tensor], own: dict[str, torch.Tensor]
) -> tuple[list[str], list[str]]:
    """Places for which the file has no tensor, and tensors that have no place; fills the places once more, as PEFT does
    not tell which it has filled. `own` are the base's weights by names that the file has too.

    PEFT puts a tensor that no part of the adapter asks for in the place of the base's weight of that name. It saves
    such copies beside an adapter on the embedding; one that differs would change the base itself.
    """
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    result = set_peft_model_state_dict(attached, tensors, NAME)
    # What PEFT would save is what it needs; tied copies and buffers are not in it.
    needed = get_peft_model_state_dict(attached, adapter_name=NAME, save_embedding_layers=False)
    unfilled = {_file_name(name) for name in result.missing_keys}
    missing = [name for name in needed if name not in tensors and _file_name(name) in unfilled]
    left = {_file_name(name) for name in result.unexpected_keys if not _is_copy(name, tensors)}
    n_tokens = attached.get_base_model().config.get_text_config().vocab_size
    for name in set(tensors) - set(needed):
        base = own.get(_base_name(name))
        # Rows of tokens that the adapter's tokenizer added are nowhere but in its file.
        n_old = getattr(attached.get_base_model(), ROWS, None) if len(tensors[name]) == n_tokens else None
        if base is not None and not torch.equal(tensors[name][:n_old].to(base), base[:n_old]):
            left.add(name)
    return sorted(missing), sorted(left)


ROWS = "rows_before_adapter"
"""Attribute of a model whose vocabulary was resized for an adapter: how many tokens it had."""


def resize(model: PreTrainedModel, adapter: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Give a model as many rows of embeddings as the adapter's file has, where those are more: tokens were added to the
    tokenizer that the adapter was trained with. Their rows are what `attach` reads from the file.

    Raises ToolError where the file does not hold them all.
    """
    n_before = model.get_input_embeddings().num_embeddings
    named = {_base_name(name): tensor for name, tensor in tensors.items()}
    owners = _embeddings(model)
    shapes = [(named.get(f"{owner}.weight"), named.get(f"{owner}.lora_embedding_A")) for owner in owners]
    rows = {len(whole) for whole, _ in shapes if whole is not None} | {a.shape[1] for _, a in shapes if a is not None}
    if not rows or (n := max(rows)) <= n_before:
        return
    held = [owner for owner, (whole, _) in zip(owners, shapes, strict=True) if whole is not None and len(whole) == n]
    tied = model.get_output_embeddings() is None or model.config.get_text_config().tie_word_embeddings
    if not held or (len(held) < len(owners) and not tied):
        raise ToolError(
            f"{adapter}: this adapter was trained with {n} tokens, its base model has {n_before}, and {WEIGHTS} holds "
            "no whole embedding of the others; save it again with save_embedding_layers=True"
        )
    model.resize_token_embeddings(n, mean_resizing=False)
    setattr(model, ROWS, n_before)


def _embeddings(model: PreTrainedModel) -> list[str]:
    """Names of the layers that have a row for each token: the embedding and the head."""
    layers = (model.get_input_embeddings(), model.get_output_embeddings())
    return [name for name, module in model.named_modules() if any(module is layer for layer in layers)]


def _is_copy(name: str, tensors: dict[str, torch.Tensor]) -> bool:
    """Whether a tensor stands in the file a second time: PEFT saves a trained embedding under two names where the
    vocabulary was resized."""
    import torch

    twin = tensors.get(name.replace(".modules_to_save.", "."))
    return ".modules_to_save." in name and twin is not None and torch.equal(twin, tensors[name])


def _base_name(name: str) -> str:
    """The base's own name of the weight that a tensor of an adapter's file would replace."""
    return name.removeprefix(PREFIX).replace(".base_layer.", ".")


def _file_name(name: str) -> str:
    """A parameter's name as the file has it, without the adapter's own."""
    parts = [part for part in name.split(".") if part not in (NAME, "modules_to_save", "token_adapter")]
    return ".".join(parts).removesuffix(".weight")


def _unfit(adapter: Path, n: int, left: list[str], missing: list[str]) -> str:
    words = []
    if left:
        words.append(
            f"{n} tensors in {WEIGHTS}, {n - len(left)} placed: {len(left)} belong to layers that {CONFIG} or the base "
            f"model does not have, first {left[0]}"
        )
    if missing:
        words.append(f"{len(missing)} tensors that {CONFIG} asks for are not in {WEIGHTS}, first {missing[0]}")
    return f"{adapter}: this adapter fits its base model only in part: {'; '.join(words)}"


def fold(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, what: str
) -> tuple[PreTrainedModel, torch.Tensor, float]:
    """Merge an adapter into its base, in place, and compare both on a probe text.

    Returns the merged model, its log-probabilities there (tokens, vocabulary), and their largest difference from the
    adapter's. Raises ToolError, which begins with `what`, when that is more than rounding: weights that are tied, such
    as lm_head with the embedding, cannot be merged apart.
    """
    model.eval()
    adapted = probe(model, tokenizer)
    merged_model = model.merge_and_unload(safe_merge=True)
    merged = probe(merged_model, tokenizer)
    return merged_model, merged, check_rounding(adapted, merged, merged_model.dtype, what)


def check_rounding(adapted: torch.Tensor, merged: torch.Tensor, dtype: torch.dtype, what: str) -> float:
    """The largest difference of two models' log-probabilities (tokens, vocabulary); raises ToolError, which begins with
    `what`, when it is more than rounding to `dtype` makes."""
    apart = merged - adapted
    difference = apart.abs().max().item()
    if not apart.pow(2).mean().sqrt().item() <= TOLERANCES.get(str(dtype), 5e-2) * adapted.std().item():
        raise ToolError(
            f"{what}: merged weights differ from the adapter by {difference:.2e} in log-probabilities, as they do "
            "where it is on a layer with tied weights; use the adapter as it is (--adapter continue, without --merge)"
        )
    return difference


def probe(model: Any, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """Log-probabilities (tokens, vocabulary) on a fixed text."""
    import torch

    text = "Question: A farmer has 12 cows and buys 30 more. How many cows are there now? Answer: 12 + 30 = 42."
    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
    with torch.inference_mode():
        return torch.log_softmax(model(input_ids=ids).logits[0].float(), dim=-1)
