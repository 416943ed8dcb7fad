"""Weights are read from safetensors and GGUF alone: other files of weights are pickles, which can run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError

CONVERT = (
    "where its files are trusted, convert it once: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
_HARMLESS = "torch.distributed.checkpoint.metadata"


def check_weights(weights: str, adapter: Path | None) -> None:
    """Before anything is read: raise ToolError for a folder whose weights are a pickle, or missing."""
    folder = Path(weights)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(p.name for p in folder.glob("*.bin"))) or "none"
        raise ToolError(
            f"{folder}: no .safetensors in it (weights there: {found}); other formats of weights are not read, as "
            f"pickles can run code: {CONVERT}"
        )
    if adapter is not None and not (adapter / "adapter_model.safetensors").is_file():
        raise ToolError(
            f"{adapter}: no adapter_model.safetensors in it; other formats of weights are not read: where they are "
            "trusted, load the adapter with PEFT and save it again (save_pretrained)"
        )


def check_checkpoint(checkpoint: Path) -> None:
    """Raise ToolError where a sharded checkpoint's index, which torch reads as a pickle, holds more than an index."""
    for path in checkpoint.rglob(".metadata"):
        with path.open("rb") as file:
            try:
                _Index(file).load()
            except Exception as error:  # a broken pickle raises anything
                raise ToolError(f"{path}: {NOT_PLAIN} ({' '.join(str(error).split())[:100]})") from error


NOT_PLAIN = (
    "holds other objects than tensors and plain values, which can run code when read; delete this checkpoint, or begin "
    "again with --resume never"
)


class _Index(pickle.Unpickler):
    """Reads the index of a distributed checkpoint and nothing else: its own classes, and names of number formats."""

    def find_class(self, module: str, name: str) -> Any:
        import torch

        found = super().find_class(module, name) if module in (_HARMLESS, "torch") else None
        if module == _HARMLESS and isinstance(found, type):
            return found
        if (module, name) in (("torch", "Size"), ("torch", "device")) or isinstance(found, torch.dtype):
            return found
        if (module, name) in (("collections", "OrderedDict"), ("torch.serialization", "_get_layout")):
            return super().find_class(module, name)
        if (module, name) == ("torch.distributed.checkpoint.filesystem", "_StorageInfo"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} is no part of it")
