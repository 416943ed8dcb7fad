"""What a service calls a model: a hub id, also for those who know it by its Ollama tag."""

from __future__ import annotations

import re

from tools_shared.errors import ToolError

_FAMILIES = {
    "qwen3": "Qwen/Qwen3-{B}",
    "qwen2.5": "Qwen/Qwen2.5-{B}-Instruct",
    "qwen2.5-coder": "Qwen/Qwen2.5-Coder-{B}-Instruct",
    "llama3": "meta-llama/Meta-Llama-3-{B}-Instruct",
    "llama3.1": "meta-llama/Llama-3.1-{B}-Instruct",
    "llama3.2": "meta-llama/Llama-3.2-{B}-Instruct",
    "llama3.3": "meta-llama/Llama-3.3-{B}-Instruct",
    "gemma3": "google/gemma-3-{b}-it",
    "smollm2": "HuggingFaceTB/SmolLM2-{B}-Instruct",
}
"""Ollama's family -> the hub's name; `{B}` is the size as `8B`, `{b}` as `8b`."""

_TAG = re.compile(r"([a-z][a-z0-9.-]*):([0-9.]+[bm])(?:-instruct)?\Z")


def hub_name(spec: str) -> str:
    """The hub id that an Ollama tag such as `qwen3:8b` means; any other text as it is.

    Raises ToolError for a tag whose family or form (a quantisation, `latest`) is not known here.
    """
    if ":" not in spec or "/" in spec or "\\" in spec:
        return spec
    found = _TAG.match(spec.lower())
    if found is None or found[1] not in _FAMILIES:
        raise ToolError(
            f"'{spec}': it is not known which weights on the hub this Ollama tag means; write their id, such as "
            "Qwen/Qwen3-8B"
        )
    return _FAMILIES[found[1]].format(B=found[2].upper(), b=found[2])
