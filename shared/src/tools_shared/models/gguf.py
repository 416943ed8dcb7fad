"""A GGUF file as a model folder: read once, written as safetensors, with the tokens that really end a reply.

llama.cpp's quantised weights are not computed with here: they are dequantised when the file is converted, so a
converted model is the quantised one's values in a wider number format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, whole_folder, write_json
from tools_shared.models.extras import need

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PreTrainedModel

_SPECIAL_IDS = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
"""Names of special tokens in transformers, and in the keys `tokenizer.ggml.NAME_token_id` of a file."""

PROFILE_KEY = "tools.profile"
"""Under this key an exported file holds the prompt profile of its run, as JSON."""

CONTROL, USER_DEFINED = 3, 4
"""Kinds of tokens in a file that text is searched for before it is split: special ones, and others."""

_FULL_FORMATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


READER = 2
"""Version of the conversion, in the names of converted folders; raised when files are read differently."""

ABOUT = "gguf.json"
"""Beside converted weights: the file that they are from."""


@dataclass(frozen=True)
class Contents:
    """What a file says about itself: ids of the special tokens, how many matrices stand in which format, and the prompt
    profile where it was exported here. `whole` are the tokens that text is searched for before it is split, by number,
    with whether they are special."""

    special_ids: Mapping[str, int]
    formats: Mapping[str, int]
    whole: Mapping[int, tuple[str, bool]]
    is_byte_level: bool = False
    profile: str | None = None

    @property
    def dtype(self) -> str:
        """The number format of the converted weights: the file's own where it is not quantised, else bfloat16."""
        return _FULL_FORMATS.get(max(self.formats, key=self.formats.__getitem__), "bfloat16")

    @property
    def quantised(self) -> list[str]:
        return sorted(set(self.formats) - set(_FULL_FORMATS))


def converted(file: Path) -> Path:
    """The model folder made from `file`, in the hub's cache (HF_HOME) under the file's sha256; made when missing.

    Raises ToolError when the file is no GGUF, or of an architecture that transformers cannot read from one.
    """
    from huggingface_hub.constants import HF_HOME

    sha256 = sha256_file(file)
    name = re.sub(r"[^\w.-]", "_", file.stem, flags=re.ASCII)
    folder = Path(HF_HOME) / "gguf" / f"{name}-{sha256[:16]}-{READER}"
    if not folder.is_dir():
        with whole_folder(folder) as draft:
            contents = convert(file, draft)
        values = f", dequantised from {', '.join(contents.quantised)}" if contents.quantised else ""
        say(f"{file}: converted to {contents.dtype} weights in {folder}{values}")
    return folder


def convert(file: Path, folder: Path) -> Contents:
    """Write the model of `file` into the empty `folder`: weights, tokenizer, and `gguf.json` with the file's sha256."""
    need("gguf", "gguf")
    contents = _inspect(file)
    model, tokenizer = _read(file)
    tokens = {name: number for name, number in contents.special_ids.items() if number < len(tokenizer)}
    for name, number in tokens.items():
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(number))
    _keep_whole(file, tokenizer, contents.whole)
    if contents.is_byte_level:
        from tokenizers import decoders

        # transformers decodes a whole reply at once for Llama: one character that stands for no byte garbles all of it.
        tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    tokenizer.clean_up_tokenization_spaces = False  # transformers' default for GGUF files deletes spaces of a reply
    model = _unquantised(model, contents.dtype, tokens)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    source = {"file": file.name, "sha256": sha256_file(file), "formats": dict(contents.formats)}
    write_json(folder / ABOUT, source | {"profile": contents.profile})
    return contents


def _inspect(file: Path) -> Contents:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise ToolError(f"{file}: not a readable GGUF file ({' '.join(str(error).split())[:200]})") from error
    ids = {name: reader.get_field(f"tokenizer.ggml.{key}_token_id") for name, key in _SPECIAL_IDS.items()}
    special_ids = {name: int(field.contents()) for name, field in ids.items() if field is not None}
    if "eos" in special_ids:
        special_ids.setdefault("pad", special_ids["eos"])
    formats = Counter(tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1)
    if not formats:
        raise ToolError(f"{file}: this GGUF file contains no weights")
    profile = reader.get_field(PROFILE_KEY)
    kind = reader.get_field("tokenizer.ggml.model")
    is_byte_level = kind is not None and kind.contents() == "gpt2"
    return Contents(
        special_ids, formats, _whole(reader), is_byte_level, None if profile is None else profile.contents()
    )


def _whole(reader: GGUFReader) -> dict[int, tuple[str, bool]]:
    tokens, types = (reader.get_field(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if tokens is None or types is None:
        return {}
    kinds = enumerate(zip(tokens.contents(), types.contents(), strict=True))
    return {number: (token, kind == CONTROL) for number, (token, kind) in kinds if kind in (CONTROL, USER_DEFINED)}


def _keep_whole(file: Path, tokenizer: Any, whole: Mapping[int, tuple[str, bool]]) -> None:
    """Make the tokenizer find the file's whole tokens in a text, such as `<think>`; transformers' reader knows a few.

    Raises ToolError where one has another number in the tokenizer.
    """
    from tokenizers import AddedToken

    missing = {n: one for n, one in whole.items() if n < len(tokenizer) and n not in tokenizer.added_tokens_decoder}
    for is_special in (True, False):
        added = [
            AddedToken(t, special=is_special, normalized=False)
            for t, special in missing.values()
            if special == is_special
        ]
        tokenizer.add_tokens(added, special_tokens=is_special)
    for number, (token, _) in missing.items():
        if tokenizer.convert_tokens_to_ids(token) != number:
            raise ToolError(f"{file}: transformers gives the token {token!r} another number than the file ({number})")


def _read(file: Path) -> tuple[PreTrainedModel, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name, "local_files_only": True}
    try:
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
        return model, AutoTokenizer.from_pretrained(**source)
    except (ValueError, OSError, KeyError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolError(f"{file}: transformers cannot read this model from a GGUF file ({reason})") from error


def _unquantised(model: PreTrainedModel, dtype: str, tokens: Mapping[str, int]) -> PreTrainedModel:
    """The same weights in a model that does not count as quantised, which can be saved.

    Its configuration and generation settings carry the file's special tokens: transformers reads other ones.
    """
    import torch
    from transformers import GenerationConfig

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    ids = {f"{name}_token_id": number for name, number in tokens.items() if name != "unk"}
    config.get_text_config().update(ids)
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = GenerationConfig(**ids)
    return plain.to(getattr(torch, dtype))
