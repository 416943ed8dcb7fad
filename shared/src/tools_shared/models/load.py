"""Loading weights and tokenizer."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tools_shared.config import Config, option
from tools_shared.console import say
from tools_shared.devices import dtype_name, multiplies_bf16, pick_device, pick_dtype
from tools_shared.errors import ToolError, brief
from tools_shared.files import sha256_file
from tools_shared.models.adapters import attach, read_adapter, resize
from tools_shared.models.formats import check_weights
from tools_shared.models.resolve import ModelRef
from tools_shared.prompts.ends import set_ends

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelConfig(Config):
    """The options of every command that loads a model."""

    PANEL: ClassVar[str] = "Model"

    profile: str | None = option(
        None, "Prompt profile: gsm8k-tags, think, boxed, or a YAML file. Default: the model's own, else gsm8k-tags."
    )
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto",
        "Number format of the weights. auto: bf16 on a GPU that has it, else fp32; a CPU that multiplies bf16 samples "
        "in it where the weights are stored in it.",
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Where to run. auto: a GPU when there is one.", identity=False
    )


@dataclass
class Loaded:
    """A model in memory with its tokenizer, and where both came from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ref: ModelRef
    skeleton: PreTrainedModel | None = None
    """Of a model that will be sharded: what `tools_shared.training.sharded.whole` puts its weights together in."""


def load_tokenizer(ref: ModelRef) -> PreTrainedTokenizerBase:
    """The tokenizer that was saved with the adapter, if any, else the base's."""
    from transformers import AutoTokenizer

    with_adapter = ref.adapter is not None and (ref.adapter / "tokenizer_config.json").exists()
    source = str(ref.adapter) if with_adapter else ref.weights
    tokenizer = _from_pretrained(AutoTokenizer, source, ref)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    return tokenizer


def load_config(ref: ModelRef) -> PreTrainedConfig:
    from transformers import AutoConfig

    return _from_pretrained(AutoConfig, ref.weights, ref)


def sampling_dtype(ref: ModelRef, dtype: str, device: str) -> torch.dtype:
    """What a model samples in. `auto` is what it is elsewhere, and bf16 on a processor that multiplies it where the
    model's weights are stored in it: nothing of them is rounded, and sampling is faster."""
    import torch

    place = pick_device(device)
    if dtype == "auto" and place == "cpu" and multiplies_bf16() and load_config(ref).dtype == torch.bfloat16:
        return torch.bfloat16
    return pick_dtype(dtype, place)


def sampled_in(ref: ModelRef, dtype: str, device: str) -> str:
    """The name of `sampling_dtype`, for a run's record."""
    return dtype_name(sampling_dtype(ref, dtype, device))


def context_length(config: PreTrainedConfig) -> int | None:
    """Most tokens that the model was made for, prompt and completion together; None when it does not say."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def kv_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Bytes of one token's keys and values, in all layers."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * text.num_hidden_layers * heads * head_size * dtype.itemsize


def load(
    ref: ModelRef,
    dtype: str = "auto",
    device: str = "auto",
    with_adapter: bool = True,
    place: str | None = None,
    **more: object,
) -> Loaded:
    """Load weights, the adapter on them (unless told not to) and the tokenizer; `more` goes to `from_pretrained`.

    The number format is that of `device`, where the weights are put unless `place` names another.

    Raises ToolError, with a message, when the hub cannot be reached, files are missing or broken, or the adapter
    belongs to another base.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    check_weights(ref.weights, ref.adapter)
    device = pick_device(device)
    tokenizer = load_tokenizer(ref)
    more |= {"dtype": pick_dtype(dtype, device), "use_safetensors": True}
    config = load_config(ref)
    check_quantised(ref, config)
    more = {**attention_for(config), **more}
    model = _from_pretrained(AutoModelForCausalLM, ref.weights, ref, **more)
    _drop_idle_window(model)
    set_ends(model, tokenizer)
    if ref.adapter is not None:
        check_base(ref)
        resize(model, ref.adapter, read_adapter(ref.adapter)[1])
    _check_padding(model, tokenizer)
    if ref.adapter is not None and with_adapter:
        model = attach(model, ref.adapter, trainable=False)
    # Weights in 4 bits were put on the device while they were read, and cannot be moved.
    fixed = "quantization_config" in more or getattr(config, "quantization_config", None) is not None
    return Loaded((model if fixed else model.to(place or device)).eval(), tokenizer, ref)


def attention_for(config: PreTrainedConfig) -> dict[str, str]:
    """The argument of `from_pretrained` for how attention is computed, where the library's choice is not exact: torch's
    attention leaves out the capped scores of Gemma 2, which `eager` computes."""
    capped = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    return {"attn_implementation": "eager"} if capped else {}


def check_quantised(ref: ModelRef, config: PreTrainedConfig, trained: str | None = None) -> None:
    """Raise ToolError for a base whose stored weights are quantised where its package is missing, or where `trained`,
    an option, would change weights that are whole."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return
    method = str((found if isinstance(found, Mapping) else vars(found)).get("quant_method", "another format"))
    what = f"{ref.weights} holds weights that are quantised ({method.rpartition('.')[2]})"
    if trained:
        raise ToolError(f"{trained}: {what}, and an adapter cannot be folded into them; start from the whole weights")
    if "bitsandbytes" in method.lower() and importlib.util.find_spec("bitsandbytes") is None:
        raise ToolError(f"{what}; run: pip install 'tools-shared[quantized]', or take the model in whole weights")


def _drop_idle_window(model: PreTrainedModel) -> None:
    """Forget a sliding window that is longer than the context (Phi-3's): every layer attends to all tokens then."""
    text = model.config.get_text_config()
    window, longest = getattr(text, "sliding_window", None), context_length(text)
    if window and longest and window >= longest and not getattr(text, "layer_types", None):
        text.sliding_window = None


def _check_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Pad with the end-of-text token where the tokenizer's own padding token has no row in the embedding."""
    n_rows = model.get_input_embeddings().num_embeddings
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id >= n_rows:
        say(
            f"note: the padding token {tokenizer.pad_token} ({tokenizer.pad_token_id}) is outside the model's {n_rows} "
            "embeddings; padding with the end-of-text token"
        )
        tokenizer.pad_token = tokenizer.eos_token


def check_base(ref: ModelRef) -> None:
    """Raise ToolError when the base's weights are not those that the adapter was trained on."""
    if ref.base_sha256 is not None and weights_sha256(ref.weights) != ref.base_sha256:
        raise ToolError(
            f"{ref.adapter}: trained on other weights than those now in {ref.weights}; restore that base model"
        )


def _from_pretrained(auto_class: Any, source: str, ref: ModelRef, **options: object) -> Any:
    try:
        return auto_class.from_pretrained(source, trust_remote_code=False, **options)
    except MemoryError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors raise anything for files that are broken
        first = brief(" ".join(str(error).split()), 300, quoted=False)
        is_local = Path(source).is_dir()
        if _out_of_memory(error) or not (is_local or isinstance(error, OSError | ValueError | ImportError)):
            raise
        where = "its files are missing or broken" if is_local else "not found on the hub, or no network"
        if isinstance(error, ImportError):
            where = "a package that it needs is not installed"
        raise ToolError(f"{ref.spec}: cannot load {source}: {where} ({type(error).__name__}: {first})") from error


def _out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "memory" in str(error).lower()


def weights_sha256(weights: str) -> str:
    """One hash over configuration and weights: of a folder's files, or of a hub id's, downloaded if they are not yet.

    The hub's cache names large files by their sha256 already; those are not read again. Raises ToolError when the hub
    cannot be reached and the cache holds no weights.
    """
    folder = Path(weights) if Path(weights).is_dir() else _hub_snapshot(weights)
    files = [path for path in sorted(folder.iterdir()) if path.name == "config.json" or path.suffix == ".safetensors"]
    check_weights(str(folder), None)
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.name} {_file_sha256(path)}\n".encode())
    return total.hexdigest()


def _hub_snapshot(repo_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=["config.json", "model*.safetensors"]))
    except OSError as error:
        raise ToolError(
            f"{repo_id}: not found on the hub, or no network ({' '.join(str(error).split())[:300]})"
        ) from error


def _file_sha256(path: Path) -> str:
    blob = path.resolve().name
    return blob if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) else sha256_file(path)
