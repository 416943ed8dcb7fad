"""Hidden states of traces with transformers, through the core."""

from __future__ import annotations

from tools_scorer.readers.base import ReaderOptions
from tools_shared.models import load, resolve
from tools_shared.states.reader import StateReader


class TransformersReader(StateReader):
    """The core's reader on the model that the options name."""

    def __init__(self, options: ReaderOptions) -> None:
        loaded = load(resolve(options.model), options.compute, options.device)
        super().__init__(loaded, options.layers, options.final_norm, options.stored, options.max_batch_tokens)
