"""Making a model trainable: LoRA on all linear layers, the same adapter continued, or every weight."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from tools_shared import processes
from tools_shared.config import flag_of, option
from tools_shared.console import say
from tools_shared.devices import pick_device, pick_dtype
from tools_shared.errors import ToolError
from tools_shared.models.adapters import CONFIG, attach, fold, read_adapter
from tools_shared.models.extras import need
from tools_shared.models.load import (
    Loaded,
    ModelConfig,
    attention_for,
    check_quantised,
    load,
    load_config,
)
from tools_shared.models.resolve import ModelRef, read_json, resolve
from tools_shared.training.sharded import skeleton

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

T = TypeVar("T", bound="LoraOptions")


@dataclass(frozen=True)
class LoraOptions(ModelConfig):
    """The options of every command that trains."""

    PANEL: ClassVar[str] = "LoRA"

    adapter: Literal["continue", "merge", "new"] = option(
        "continue",
        "What to do with the adapter of the base model. continue: train it; merge: merge it into the weights and train "
        "a new one; new: drop it and train a new one on its base.",
    )
    full_finetune: bool = option(False, "Train every weight instead of a LoRA adapter.")
    lora_r: int = option(8, "Rank of a new LoRA adapter.", minimum=1)
    lora_alpha: int = option(16, "Scale of a new LoRA adapter: its output is multiplied by alpha / r.", minimum=1)
    lora_dropout: float = option(0.0, "Dropout before a new LoRA adapter.", minimum=0, maximum=1)
    lora_target: tuple[str, ...] = option(("all-linear",), "Layers of a new LoRA adapter. Repeatable.")
    merge: bool = option(False, "Also save the merged weights in merged/, and verify them.")
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = option(
        "auto",
        "Attention kernel. auto: flash-attn (untested) in half precision on a GPU where it is installed, eager for "
        "models that cap their scores (Gemma 2), else sdpa.",
    )
    load_in_4bit: bool = option(
        False, "Keep the frozen weights in 4 bits under the LoRA adapter (QLoRA); needs a GPU (untested)."
    )
    liger: bool = option(
        False, "Use Liger's kernels for normalisation, rotary embeddings and SwiGLU; needs a GPU (untested)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.load_in_4bit and (self.full_finetune or self.merge or self.adapter == "merge"):
            raise ToolError(
                "--load-in-4bit trains an adapter on frozen 4-bit weights and cannot be combined with --full-finetune, "
                "--merge or --adapter merge"
            )
        if self.merge and self.full_finetune:
            raise ToolError("--merge: there is no adapter to merge with --full-finetune; leave it out")
        if self.merge and self.adapter == "merge":
            raise ToolError(
                "--merge: --adapter merge saves whole weights in model/ already, or does nothing where the base model "
                "has no adapter; leave one of them out"
            )

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.full_finetune:
            found |= dict.fromkeys(LORA, "with --full-finetune, which trains no adapter")
        return found


LORA = ("lora_r", "lora_alpha", "lora_dropout", "lora_target")
"""Options of a new adapter."""


def settled(options: T, spec: str, origins: Mapping[str, str]) -> T:
    """`options` with rank, scale, dropout and layers of the adapter that `spec` brings, where that is trained further:
    they are its own, and the run's record says so.

    Raises ToolError for one that was asked for otherwise; `origins` are those of `cli.Invocation`.
    """
    try:
        ref = resolve(spec)
    except ToolError:
        return options  # said when the model is prepared; a finished run needs it no more
    if ref.adapter is None or options.adapter != "continue" or options.full_finetune:
        return options
    config = read_json(ref.adapter / CONFIG)
    layers = config.get("target_modules") or options.lora_target
    values: dict[str, Any] = {"lora_r": config.get("r"), "lora_alpha": config.get("lora_alpha")}
    values["lora_dropout"] = config.get("lora_dropout", 0.0)
    values["lora_target"] = (layers,) if isinstance(layers, str) else tuple(sorted(layers))
    for name, own in values.items():
        asked = getattr(options, name)
        same = set(asked) in ({"all-linear"}, set(own)) if name == "lora_target" else asked == own
        if not same and origins.get(name, "default") != "default":
            shown = " ".join(own) if isinstance(own, tuple) else own
            raise ToolError(
                f"{flag_of(name)} has no effect on the adapter of {spec}, which is trained further and has {shown}; "
                "leave it out, or train a new one with --adapter merge or --adapter new"
            )
    return replace(options, **{name: own for name, own in values.items() if own is not None})


def load_trainable(ref: ModelRef, options: LoraOptions) -> Loaded:
    """Load a model and give it what is to be trained; draws from torch's global generator, so seed it before.

    Raises ToolError for what this machine lacks: a GPU, or the package that an option needs.
    """
    device = pick_device(options.device)
    if device == "cpu" and (options.load_in_4bit or options.liger or options.attention == "flash_attention_2"):
        asked = (
            "--load-in-4bit"
            if options.load_in_4bit
            else "--liger"
            if options.liger
            else "--attention flash_attention_2"
        )
        raise ToolError(f"{asked} needs a GPU, and this run is on the CPU; leave it out")
    sharded = processes.sharded()
    if sharded and options.load_in_4bit:
        raise ToolError("--load-in-4bit keeps the whole model in each process; leave it or --sharding fsdp2 out")
    # Sharding moves a layer to the GPU at a time: there is never room needed for all of them.
    place = "cpu" if sharded else None
    loaded = load(ref, options.dtype, device, with_adapter=False, place=place, **_loading(ref, options, device))
    if options.liger:
        need("liger_kernel", "liger")
        from liger_kernel.transformers.monkey_patch import _apply_liger_kernel_to_instance

        # The losses stay torch's: TRL and the distillation read the logits that a fused loss never makes.
        _apply_liger_kernel_to_instance(
            model=loaded.model, cross_entropy=False, fused_linear_cross_entropy=False, rms_norm=True, swiglu=True
        )
    trainable = make_trainable(loaded, options)
    return replace(trainable, skeleton=skeleton(trainable.model)) if sharded else trainable


def _loading(ref: ModelRef, options: LoraOptions, device: str) -> dict[str, Any]:
    """Arguments of `from_pretrained` for attention and 4-bit weights."""
    import importlib.util

    import torch

    dtype = pick_dtype(options.dtype, device)
    arguments: dict[str, Any] = attention_for(load_config(ref))
    if options.attention == "flash_attention_2":
        need("flash_attn", "flash")
    if options.attention != "auto":
        if arguments and options.attention == "sdpa":
            say(f"warning: --attention sdpa leaves out the capped attention scores of {ref.spec}; eager has them")
        arguments["attn_implementation"] = options.attention
    elif importlib.util.find_spec("flash_attn") is not None and device == "cuda" and dtype != torch.float32:
        arguments["attn_implementation"] = "flash_attention_2"
    if options.load_in_4bit:
        need("bitsandbytes", "quantized")
        from transformers import BitsAndBytesConfig

        # NF4 with quantised constants is QLoRA's own choice (Dettmers et al. 2023, section 3).
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        arguments["device_map"] = {"": torch.cuda.current_device()}
    return arguments


def make_trainable(loaded: Loaded, options: LoraOptions) -> Loaded:
    """Give a model, loaded without its adapter, what is to be trained.

    The weights that stay frozen keep their number format; those that are trained are float32. Draws a new
    adapter's values from torch's global generator, so seed it before.
    """
    import torch

    model, ref = loaded.model, loaded.ref
    if ref.adapter is None and options.adapter != "continue":
        say(f"note: {ref.spec} has no adapter, so --adapter {options.adapter} has no effect")
    if ref.adapter is not None and options.adapter == "new":
        say(f"note: --adapter new leaves out the adapter of {ref.spec} and what it has learned")
    if ref.adapter is not None and options.adapter == "continue" and not options.full_finetune:
        return Loaded(attach(model, ref.adapter, trainable=True), loaded.tokenizer, ref)
    if options.full_finetune:
        model = model.to(torch.float32)
    if ref.adapter is not None and options.adapter != "new":
        why = "--full-finetune" if options.full_finetune else "--adapter merge"
        model, *_ = fold(attach(model, ref.adapter, trainable=False), loaded.tokenizer, f"{ref.adapter}: {why}")
    if options.full_finetune:
        return Loaded(model.requires_grad_(True), loaded.tokenizer, ref)
    return Loaded(_with_new_adapter(model, options), loaded.tokenizer, ref)


def _with_new_adapter(model: PreTrainedModel, options: LoraOptions) -> PeftModel:
    from peft import LoraConfig, get_peft_model

    targets = list(options.lora_target)
    lora = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise ToolError(f"--lora-target {' '.join(targets)}: {' '.join(str(error).split())}") from error


def check_trainable(ref: ModelRef, options: LoraOptions) -> None:
    """Raise ToolError, before weights are loaded, for what cannot be trained: layers that the model does not have, an
    adapter on its head, whole weights made of quantised ones.

    TRL multiplies hidden states by the head's own weight, so an adapter on it would never be trained.
    """
    import torch
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import AutoModelForCausalLM

    config = load_config(ref)
    if options.full_finetune or options.merge or (ref.adapter is not None and options.adapter == "merge"):
        asked = "--full-finetune" if options.full_finetune else "--merge" if options.merge else "--adapter merge"
        check_quantised(ref, config, asked)
    if options.full_finetune:
        return
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when it is loaded
        model = AutoModelForCausalLM.from_config(config)
        if ref.adapter is not None and options.adapter == "continue":
            what = f"{ref.adapter}: this adapter is"
            try:
                model = get_peft_model(model, read_adapter(ref.adapter)[0])
            except ValueError:
                return  # an adapter for another model: said where its tensors are placed
        else:
            what = f"--lora-target {' '.join(options.lora_target)} would be"
            model = _with_new_adapter(model, options)
    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        raise ToolError(
            f"{what} on the layer that gives the probabilities of tokens, where adapters are not trained; take other "
            "layers, such as all-linear"
            + (", for a new one (--adapter new, or --adapter merge)" if ref.adapter is not None else "")
        )


def saves_full_weights(loaded: Loaded, adapter: str, full_finetune: bool) -> bool:
    """Whether the result cannot be told as an adapter on the base that the user named: then whole weights are saved."""
    return full_finetune or (loaded.ref.adapter is not None and adapter == "merge")
