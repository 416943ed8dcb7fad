"""How much memory training will take, reckoned from the model's configuration before its weights are loaded.

Bytes, with P parameters of which T are trained, b the bytes of a number in the chosen format, N the tokens of one
forward pass (rows times the longest), h, I, q and k the widths of hidden state, MLP, queries and keys, L the layers, V
the vocabulary:

    weights      b P + 4 T for an adapter; 4 P when all are trained; 0.55 a number of the linear layers in 4 bits
    gradients    4 T
    optimiser    8 T          AdamW's two moments
    activations  N L a b + min(16 N V, 12 M 32768),    a = 6 h + 3 q + 4 k + 4 I

`a` counts what autograd keeps of one token in one layer: both normalisations (input and result), queries and keys
before and after the rotation, values, the attention's result, and gate, its SiLU, up and their product. It leaves out
the attention matrix, which SDPA and flash attention never store. Of SFT a layer keeps matrix products and attention
alone (`tools_sft.trainer`), 3 h + 2 q + 2 k + 2 I, and one layer at a time the rest; with gradient checkpointing h.
16 N V is the logits, the shifted copy, their log-softmax and its gradient; TRL's head makes them in tiles of M tokens
(4,096; 256 for SFT on a CPU) and 32,768 words. Not counted: Python and the libraries (some 0.5 GiB), the CUDA context,
fragments.

Sharded over n processes, weights, gradients and optimiser are a process's n-th part (`Memory.spread`).

Measured on a CPU in float32 (Qwen3 of random weights, 7 and 9 million parameters, 2,048 tokens a pass; peak resident
memory over that of the loaded libraries, freed memory given back at once): 0.91 to 1.11 of this. The allocator of
Linux keeps some of what was freed: 1.37 of it there, and of activations on SmolLM2-135M (LoRA, 4 rows a step) about
1.5. So on a CPU activations are counted KEPT times: the whole is then 0.92 of what SFT of SmolLM2 takes. Not yet
measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tools_shared import processes
from tools_shared.console import say
from tools_shared.devices import pick_device, pick_dtype
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef
from tools_shared.models.load import load_config
from tools_shared.training.trainable import LoraOptions

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig

    from tools_shared.training.options import TrainingOptions

KEPT = 1.3
"""Memory for activations on a CPU over what of them is in use: what is freed is not all given back."""
KEPT_OF_PRODUCTS = 2.0
"""The same where layers keep their products alone: more is made and freed in between. From one measurement, SFT of
SmolLM2 with 8 rows a step: 1,892 MiB over the loaded model, 1,197 MiB with freed memory given back at once."""
FOUR_BIT = 0.55
"""Bytes of a number in NF4 with doubly quantised constants: 4 bits and 0.13 of scale, and some in full precision."""


@dataclass(frozen=True)
class Memory:
    """Bytes of each kind; `sampling` is the key-value cache of rollouts, and the weights in another format where they
    are sampled in one, which are freed before the backward pass."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    sampling: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.sampling)

    def spread(self, options: TrainingOptions) -> Memory:
        """That of each process where `--sharding` spreads the model over them. Sampling and evaluating put the whole
        weights together; the one layer that is whole while a step trains is not counted."""
        n = processes.count() if processes.sharded() else options.processes if options.sharding == "fsdp2" else 1
        if n == 1:
            return self
        return replace(
            self,
            weights=self.weights / n,
            gradients=self.gradients / n,
            optimizer=self.optimizer / n,
            sampling=self.sampling + self.weights,
        )

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimiser": self.optimizer,
            "activations": self.activations,
            "sampling": self.sampling,
        }
        words = [f"{name} {gib(size)}" for name, size in parts.items() if size]
        return f"memory to expect: {gib(self.total)} ({', '.join(words)}), besides Python and its libraries"


def gib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def expected(make: Callable[[], Memory]) -> Memory | None:
    """What `make` reckons; None, with a message, for a model that this formula does not know. The figure is advice:
    whatever goes wrong in reckoning it stops no run."""
    try:
        return make()
    except ToolError:
        raise
    except Exception as error:  # noqa: BLE001 - a figure that is only shown
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        say(f"the memory to expect cannot be reckoned for this architecture ({reason})")
        return None


def estimate(
    ref: ModelRef,
    options: LoraOptions,
    n_rows: int,
    n_tokens: int,
    checkpointing: bool,
    n_sampled_tokens: int = 0,
    head_tokens: int | None = 4096,
    sampled_in: torch.dtype | None = None,
    n_scored: int | None = None,
    products: bool = False,
) -> Memory:
    """Bytes for forward passes of `n_rows` rows of `n_tokens` tokens; `n_sampled_tokens` is that of all rollouts
    sampled at once, prompts included; `head_tokens` how many go through the head at a time, None for all; `sampled_in`
    the format that all weights are copied to while rollouts are sampled, None where they are sampled as they are;
    `n_scored` how many tokens of a pass the head sees, None for all; `products` whether layers keep their matrix
    products alone."""
    config = load_config(ref)
    text = config.get_text_config()
    device = pick_device(options.device)
    b = pick_dtype(options.dtype, device).itemsize
    n = n_rows * n_tokens
    kept = (KEPT_OF_PRODUCTS if products else KEPT) if device == "cpu" else 1.0
    copied = sampled_in.itemsize if sampled_in else 0
    n_linear, n_other, n_adapter = _count(config, options.lora_r)
    n_all = n_linear + n_other
    if options.full_finetune:
        weights, n_trained = 4.0 * n_all, n_all
    else:
        weights = (FOUR_BIT if options.load_in_4bit else b) * n_linear + b * n_other + 4.0 * n_adapter
        n_trained = n_adapter
    return Memory(
        weights,
        4.0 * n_trained,
        8.0 * n_trained,
        kept * (_activations(text, n, b, checkpointing, products) + _head(text, n_scored or n, head_tokens)),
        2.0 * (copied or b) * n_sampled_tokens * _key_width(text) * text.num_hidden_layers + copied * n_all,
    )


def _count(config: PreTrainedConfig, lora_r: int) -> tuple[int, int, int]:
    """Parameters in the layers' linear maps, all others, and those of the LoRA adapter on them (r (in + out) a map)."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    linear = [m for m in _linear_maps(model) if m is not model.get_output_embeddings()]
    n_linear = sum(m.weight.numel() for m in linear)
    n_adapter = sum(lora_r * sum(m.weight.shape) for m in linear)
    return n_linear, model.num_parameters() - n_linear, n_adapter


def _linear_maps(model: nn.Module) -> list[nn.Module]:
    """GPT-2's family writes its linear maps as convolutions of width 1."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return [module for module in model.modules() if isinstance(module, nn.Linear | Conv1D)]


def _head_width(config: PreTrainedConfig) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _key_width(config: PreTrainedConfig) -> int:
    """Width of all keys of a token; Falcon says by a flag of its own that it has one head of them."""
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return _head_width(config)
    return _head_width(config) * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def _mlp_width(config: PreTrainedConfig) -> int:
    """Width of the MLP by the names that families give it, of a list the mean; 4 h where it is not said (GPT-2)."""
    names = ("intermediate_size", "n_inner", "ffn_dim", "d_ff", "ffn_hidden_size")
    found = next((width for name in names if (width := getattr(config, name, None))), 4 * config.hidden_size)
    return sum(found) // len(found) if isinstance(found, list | tuple) else found


def _activations(config: PreTrainedConfig, n_tokens: int, b: int, checkpointing: bool, products: bool) -> float:
    h, k, q = config.hidden_size, _key_width(config), _head_width(config) * config.num_attention_heads
    per_layer = b * (6 * h + 3 * q + 4 * k + 4 * _mlp_width(config))
    between = b * h if checkpointing else b * (3 * h + 2 * q + 2 * k + 2 * _mlp_width(config))
    n_layers = config.num_hidden_layers
    kept = n_layers * between + per_layer if checkpointing or products else n_layers * per_layer
    return float(n_tokens * kept)


def _head(config: PreTrainedConfig, n_tokens: int, tile: int | None) -> float:
    whole = 16.0 * n_tokens * config.vocab_size
    return whole if tile is None else min(whole, 12.0 * tile * 32768)
