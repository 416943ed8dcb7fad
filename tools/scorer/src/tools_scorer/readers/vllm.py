"""Hidden states of traces with vLLM: its batching, its prefix cache (the prompt is prefilled once for all attempts).

vLLM gives the states before the final norm, so the norm is applied here. The adapter of a run is not: merge it first.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.readers.base import ReaderOptions
from tools_scorer.traces.files import Trace
from tools_shared.devices import pick_device, torch_dtype
from tools_shared.engines.vllm.engine import check_version
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, resolve
from tools_shared.states.vllm import PATH, POSITIONS, final_norm, storing_options, taken

if TYPE_CHECKING:
    import torch

_AT_ONCE = 256


class VllmReader:
    """vLLM on what `options.model` names; the states of each request come through a file of its own."""

    def __init__(self, options: ReaderOptions) -> None:
        check_version()
        ref = resolve(options.model)
        if ref.adapter is not None:
            raise ToolError(f"{options.model}: --engine vllm reads full weights; merge this adapter (--merge) first")
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="tools-scorer-")
        self._llm = _start(ref, options, self._folder.name)
        self._norm = final_norm(ref) if options.final_norm else None

    def read(self, traces: Sequence[Trace]) -> Iterator[tuple[int, torch.Tensor]]:
        from vllm import SamplingParams

        for begin in range(0, len(traces), _AT_ONCE):
            some = traces[begin : begin + _AT_ONCE]
            prompts = [{"prompt_token_ids": list(trace.token_ids[: trace.positions[-1] + 1])} for trace in some]
            asked = [{"kv_transfer_params": {POSITIONS: list(trace.positions)}} for trace in some]
            params = [SamplingParams(temperature=0, max_tokens=1, extra_args=extra) for extra in asked]
            for i, output in enumerate(self._llm.generate(prompts, params, use_tqdm=False), start=begin):
                yield i, taken(Path(output.kv_transfer_params[PATH]), self._norm).to(torch_dtype(self._options.stored))


def _start(ref: ModelRef, options: ReaderOptions, folder: str) -> Any:
    from vllm import LLM

    from tools_shared.models.load import context_length, load_config

    longest = context_length(load_config(ref)) or 0
    settings: dict[str, Any] = {
        "model": ref.weights,
        "dtype": str(torch_dtype(options.compute)).removeprefix("torch."),
        "seed": 0,
        "trust_remote_code": False,
        "enable_prefix_caching": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, longest),
        "disable_log_stats": True,
        **storing_options(options.layers, folder),
    }
    if pick_device(options.device) == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        settings["enforce_eager"] = True
    try:
        return LLM(**settings)
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"{ref.spec}: vLLM does not start: {' '.join(str(error).split())[:400]}") from error
