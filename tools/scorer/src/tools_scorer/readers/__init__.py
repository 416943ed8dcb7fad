"""Backbones: run over traces and return the hidden states at the requested positions."""

from tools_scorer.readers.base import Reader, ReaderOptions
from tools_scorer.readers.open import open_reader

__all__ = ["Reader", "ReaderOptions", "open_reader"]
