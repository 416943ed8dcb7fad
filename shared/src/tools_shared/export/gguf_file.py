"""Write a model as one GGUF file, read it back with transformers' reader, and compare it with the model.

Three comparisons, each of which refuses the file: every weight is the model's own, rounded to the file's number format;
the sizes that the reader finds are the model's; and the log-probabilities of the read weights are those of the run, but
for what the number format rounds away.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.export.gguf_shapes import architecture, as_stored, extra_tensors, head_size, ropes, write_shape
from tools_shared.export.gguf_vocabulary import ENDS, vocabulary, write_vocabulary
from tools_shared.models.extras import need
from tools_shared.models.gguf import PROFILE_KEY
from tools_shared.models.load import Loaded, load_config
from tools_shared.prompts import Profile

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ROUNDING = {"F32": 1e-4, "F16": 1e-2, "BF16": 5e-2, "Q8_0": 0.25}
"""Largest difference of log-probabilities that a number format may make, relative to their spread."""
LARGEST_F16 = 65504.0
PROBES = (
    "Question: A farmer has 12 cows and buys 30 more. How many cows are there now? Answer: 12 + 30 = 42.",
    "A circle of radius 7 cm has 49\u03c0 cm\u00b2, about 153.94.\n\n\tdef area(r):\n\t    return 3.14159 * r ** 2",
    "Prove that x^2 \u2265 0. Le carr\u00e9 d'un r\u00e9el n'est jamais n\u00e9gatif. \u6570\u5b66\u5f88\u6709\u8da3 "
    * 4,
)


def write_gguf(loaded: Loaded, path: Path, profile: Profile, asked: str, name: str) -> dict[str, Any]:
    """Write `loaded` (float32, an adapter still on it) to `path` and check it; returns what was found.

    The weights are rounded to the base's number format first, as a merged run's are. Raises ToolError for a model or
    tokenizer that a file cannot hold, and where the file does not compute what the run does.
    """
    need("gguf", "gguf")
    from gguf import GGUFWriter

    model, tokenizer = _whole(loaded), loaded.tokenizer
    found = architecture(model)
    kind = _format(loaded, asked)
    tokens = vocabulary(tokenizer, model.get_input_embeddings().num_embeddings)
    before = probes(model, tokenizer)
    writer = GGUFWriter(path, found)
    writer.add_name(name)
    writer.add_string(PROFILE_KEY, json.dumps(profile.to_json()))
    writer.add_file_type({"F16": 1, "BF16": 32, "Q8_0": 7}[kind.name])
    writer.add_quantization_version(2)
    write_shape(writer, model, len(tokens.tokens))
    special = write_vocabulary(writer, tokens, tokenizer, model.generation_config.eos_token_id)
    for gguf_name, values, stored in _tensors(model, kind):
        from gguf import quantize

        writer.add_tensor(gguf_name, quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    difference = check(path, model, tokenizer, kind, before)
    ends = tokenizer.convert_ids_to_tokens([special[key] for key in ENDS if key in special])
    say(f"{path.name}: {found}, {kind.name}, log-probabilities within {difference:.2g} of the run's")
    return {
        "architecture": found,
        "number_format": kind.name,
        "logprob_difference": difference,
        "ends": ends,
    }


def _whole(loaded: Loaded) -> PreTrainedModel:
    """The model with its adapter folded in, rounded to the base's own number format."""
    import torch
    from peft import PeftModel

    from tools_shared.models.adapters import fold

    model = loaded.model
    if isinstance(model, PeftModel):
        model, _, _ = fold(model, loaded.tokenizer, loaded.ref.spec)
        stored = load_config(loaded.ref).dtype or torch.float32
        model = model.to(stored).to(torch.float32)
    return model.eval()


def _format(loaded: Loaded, asked: str) -> GGMLQuantizationType:
    import torch
    from gguf import GGMLQuantizationType

    if asked == "auto":
        asked = "bf16" if load_config(loaded.ref).dtype == torch.bfloat16 else "f16"
    return GGMLQuantizationType[asked.upper()]


def _tensors(
    model: PreTrainedModel, kind: GGMLQuantizationType
) -> Iterator[tuple[str, np.ndarray, GGMLQuantizationType]]:
    """Each tensor's name in the file, its values there, and its number format."""
    from gguf import GGMLQuantizationType

    for name, values in _own(model):
        yield _name_in_file(name, model), as_stored(name, values, model), _stored(values, kind)
    for name, values in extra_tensors(model).items():
        yield name, values, GGMLQuantizationType.F32


def _own(model: PreTrainedModel) -> Iterator[tuple[str, np.ndarray]]:
    """The model's weights, each once: a head that is tied to the embedding is not in a file."""
    tied = model.config.get_text_config().tie_word_embeddings
    for name, tensor in model.state_dict().items():
        if not (tied and name == "lm_head.weight"):
            yield name, tensor.detach().float().cpu().numpy()


def _name_in_file(name: str, model: PreTrainedModel) -> str:
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    found = architecture(model)
    number = next(key for key, value in MODEL_ARCH_NAMES.items() if value == found)
    stem, _, ending = name.rpartition(".")
    known = get_tensor_name_map(number, model.config.num_hidden_layers).get_name(stem)
    if known is None:
        raise ToolError(f"{name}: llama.cpp has no such weight in its {found} models; use --to merged")
    return f"{known}.{ending}"


def _stored(values: np.ndarray, kind: GGMLQuantizationType) -> GGMLQuantizationType:
    """Vectors stay as they are; rows that are no multiple of a block's length are not quantised."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if values.ndim < 2:
        return GGMLQuantizationType.F32
    if values.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        kind = GGMLQuantizationType.F16
    if kind == GGMLQuantizationType.F16 and abs(values).max() > LARGEST_F16:
        raise ToolError(f"a weight of {abs(values).max():.0f} is beyond float16; use --gguf-format bf16")
    return kind


def check(
    path: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    kind: GGMLQuantizationType,
    before: list[torch.Tensor],
) -> float:
    """Read the file back into `model` and compare; returns the largest difference of log-probabilities."""
    import torch
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    with contextlib.redirect_stderr(io.StringIO()):  # a bar of its own
        read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    _check_sizes(path, read["config"], model)
    _check_tokens(path, tokenizer, model.get_input_embeddings().num_embeddings)
    _check_weights(path, read["tensors"], model, kind)
    missing, unexpected = model.load_state_dict(read["tensors"], strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ToolError(f"{path.name}: reads back other weights than it was written with; use --to merged")
    model.tie_weights()
    pairs = list(zip(before, probes(model, tokenizer), strict=True))
    difference = max((there - here).abs().max().item() for there, here in pairs)
    spread = torch.cat([there for there, _ in pairs]).std().item()
    if not difference <= ROUNDING[kind.name] * spread:
        raise ToolError(
            f"{path.name}: log-probabilities differ by {difference:.2e} from the run's, more than {kind.name} rounds "
            "away; use another --gguf-format, or --to merged"
        )
    return difference


def probes(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[torch.Tensor]:
    """Log-probabilities (tokens, vocabulary) of fixed texts of several kinds."""
    import torch

    longest = model.config.max_position_embeddings
    found = []
    for text in PROBES:
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=min(512, longest))["input_ids"]
        with torch.inference_mode():
            found.append(torch.log_softmax(model(input_ids=ids.to(model.device)).logits[0].float(), dim=-1).cpu())
    return found


def _check_sizes(path: Path, read: Mapping[str, Any], model: PreTrainedModel) -> None:
    from gguf import GGUFReader

    config: Any = model.config
    own = {name: getattr(config, name) for name in _SIZES if getattr(config, name, None) is not None}
    own |= {"rope_theta": ropes(config)["full_attention"]["rope_theta"]}
    wrong = [name for name, value in own.items() if name in read and not _same(read[name], value)]
    key = GGUFReader(path).get_field(f"{architecture(model)}.attention.key_length")
    if key is None or key.contents() != head_size(config):
        wrong.append("head_dim")
    if wrong:
        raise ToolError(f"{path.name}: {wrong[0]} reads back as {read.get(wrong[0])}; use --to merged")


_SIZES = (
    "max_position_embeddings num_hidden_layers intermediate_size hidden_size num_attention_heads "
    "num_key_value_heads rms_norm_eps vocab_size sliding_window"
).split()


def _same(read: Any, own: Any) -> bool:
    return abs(float(read) - float(own)) <= 1e-6 * abs(float(own))


def _check_tokens(path: Path, tokenizer: PreTrainedTokenizerBase, n_rows: int) -> None:
    """Every token under its own number."""
    from gguf import GGUFReader

    field = GGUFReader(path).get_field("tokenizer.ggml.tokens")
    tokens = field.contents() if field is not None else []
    own = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), n_rows))))
    wrong = [i for i, token in enumerate(own) if token is not None and (i >= len(tokens) or tokens[i] != token)]
    if wrong:
        raise ToolError(f"{path.name}: token {wrong[0]} reads back otherwise than it was written; use --to merged")


def _check_weights(
    path: Path, read: Mapping[str, torch.Tensor], model: PreTrainedModel, kind: GGMLQuantizationType
) -> None:
    import numpy as np
    from gguf import dequantize, quantize

    for name, values in _own(model):
        stored = _stored(values, kind)
        expected = dequantize(quantize(as_stored(name, values, model), stored), stored)
        found = read.get(name)
        if found is None or not np.allclose(as_stored(name, found.float().numpy(), model), expected, atol=1e-6):
            raise ToolError(f"{path.name}: {name} reads back otherwise than it was written; use --to merged")
