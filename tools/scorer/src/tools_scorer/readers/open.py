"""From options to a backbone."""

from __future__ import annotations

from typing import Literal

from tools_scorer.readers.base import Reader, ReaderOptions


def open_reader(engine: Literal["transformers", "vllm"], options: ReaderOptions) -> Reader:
    """Load the model; raises ToolError when it cannot be loaded or is laid out in a way the engine does not know."""
    if engine == "vllm":
        from tools_scorer.readers.vllm import VllmReader

        return VllmReader(options)
    from tools_scorer.readers.transformers import TransformersReader

    return TransformersReader(options)
