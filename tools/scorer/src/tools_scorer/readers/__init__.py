"""What reads traces and gives the hidden states at the positions asked for."""

from tools_scorer.readers.base import Reader, ReaderOptions
from tools_scorer.readers.open import open_reader

__all__ = ["Reader", "ReaderOptions", "open_reader"]
