"""The embedded default: generated problems and a tiny pretrained model, so that every tool runs with no download."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def model_path() -> Path:
    """The folder of the demo model (weights, tokenizer, card), which is package data and so always on disk."""
    return Path(str(files("tools_shared.demo") / "model"))
