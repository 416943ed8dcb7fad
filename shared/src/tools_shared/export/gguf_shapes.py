"""Architectures as llama.cpp computes them: the metadata of each, and how its tensors differ from transformers'.

What a file cannot say, or llama.cpp does not compute, is refused: nothing is written that another program would read as
another model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter
    from transformers import PreTrainedModel

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma2": "gemma2", "gemma3_text": "gemma3"}
"""transformers' names of model types, and llama.cpp's of the same."""
LOCAL_THETA = 10000.0
"""Base of the rotations in Gemma 3's layers with a window; llama.cpp knows no other."""
_WINDOW_EVERY = {"gemma2": 2, "gemma3_text": 6}
"""One in this number of layers attends to all tokens, the others within the window."""


def architecture(model: PreTrainedModel) -> str:
    """llama.cpp's name; raises ToolError, naming what is in the way, for a model that a file cannot hold."""
    config: Any = model.config
    kind = config.model_type
    if kind not in ARCHITECTURES:
        raise ToolError(
            f"{kind} models are not written as GGUF here, only {', '.join(ARCHITECTURES)}; use --to merged and "
            "llama.cpp's own converter"
        )
    activation = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    if activation != ("gelu_pytorch_tanh" if kind in _WINDOW_EVERY else "silu"):
        _refuse(kind, f"the activation {activation}")
    types = list(getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers)
    every = _WINDOW_EVERY.get(kind)
    expected = [
        "sliding_attention" if every and (i + 1) % every else "full_attention" for i in range(config.num_hidden_layers)
    ]
    if types != expected or (every is None and getattr(config, "sliding_window", None)):
        _refuse(kind, "layers with a sliding window where others have none")
    if every and config.query_pre_attn_scalar != config.head_dim:
        _refuse(kind, f"query_pre_attn_scalar {config.query_pre_attn_scalar} with head_dim {config.head_dim}")
    if kind == "gemma3_text" and (config.final_logit_softcapping or config.attn_logit_softcapping):
        _refuse(kind, "capped logits")
    if getattr(config, "use_bidirectional_attention", False):
        _refuse(kind, "attention in both directions")
    _check_rope(kind, config)
    return ARCHITECTURES[kind]


def _refuse(kind: str, what: str) -> None:
    raise ToolError(f"this {kind} model has {what}, which llama.cpp does not compute; use --to merged")


def _check_rope(kind: str, config: Any) -> None:
    for where, one in ropes(config).items():
        known = ("default", "linear") if kind == "gemma3_text" and where == "full_attention" else ("default",)
        if one["rope_type"] not in (*known, *(("llama3",) if kind == "llama" else ())):
            _refuse(kind, f"rotations scaled by '{one['rope_type']}'")
        if where == "sliding_attention" and kind == "gemma3_text" and one["rope_theta"] != LOCAL_THETA:
            _refuse(kind, f"rope_theta {one['rope_theta']} in its layers with a window")
        if one.get("partial_rotary_factor", 1.0) != 1.0:
            _refuse(kind, "rotations of a part of each head")


def ropes(config: Any) -> dict[str, dict[str, Any]]:
    """The rotations by kind of layer; most models have one kind."""
    found = config.rope_parameters
    nested = {name: one for name, one in found.items() if isinstance(one, dict)}
    return nested or {"full_attention": found}


def head_size(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def write_shape(writer: GGUFWriter, model: PreTrainedModel, n_tokens: int) -> None:
    """The sizes and constants of the architecture."""
    from gguf import RopeScalingType

    config: Any = model.config
    rope = ropes(config)["full_attention"]
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_size(config))
    writer.add_value_length(head_size(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(rope["rope_theta"]))
    writer.add_vocab_size(n_tokens)
    if config.model_type == "llama":
        writer.add_rope_dimension_count(head_size(config))
    if config.model_type in _WINDOW_EVERY:
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping or 0.0)
        writer.add_final_logit_softcapping(config.final_logit_softcapping or 0.0)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))


def extra_tensors(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """Tensors that transformers computes from its configuration: by how much Llama 3.1 slows each rotation."""
    import numpy as np

    config: Any = model.config
    rope = ropes(config)["full_attention"]
    if rope["rope_type"] != "llama3":
        return {}
    size = head_size(config)
    plain = 1.0 / (rope["rope_theta"] ** (np.arange(0, size, 2, dtype=np.float64) / size))
    scaled = model.get_decoder().rotary_emb.inv_freq.double().cpu().numpy()
    return {"rope_freqs.weight": (plain / scaled).astype(np.float32)}


def as_stored(name: str, values: np.ndarray, model: PreTrainedModel) -> np.ndarray:
    """A tensor as llama.cpp has it: Llama's rotated halves of each head interleaved, Gemma's norms with their one."""
    config: Any = model.config
    if config.model_type == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
        halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        return halves.swapaxes(1, 2).reshape(values.shape)
    if config.model_type in _WINDOW_EVERY and name.endswith("norm.weight"):
        return values + 1
    return values
