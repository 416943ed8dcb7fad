"""Reading traces with vLLM: its batching, its prefix cache (the prompt is read once for all attempts at a question).

vLLM gives the states before the final norm, so the norm is applied here. The adapter of a run is not: merge it first.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.hidden import torch_dtype
from tools_scorer.inputs import Trace
from tools_scorer.readers.base import ReaderOptions
from tools_shared.engines.vllm import check_version
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, resolve

if TYPE_CHECKING:
    import torch
    from torch import nn

_AT_ONCE = 256
_PATIENCE = 60
"""Seconds to wait for the file of a request that has ended: it is written in the engine's next step."""


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
            asked = [{"kv_transfer_params": {"positions": list(trace.positions)}} for trace in some]
            params = [SamplingParams(temperature=0, max_tokens=1, extra_args=extra) for extra in asked]
            for i, output in enumerate(self._llm.generate(prompts, params, use_tqdm=False), start=begin):
                yield i, self._normed(_taken(Path(output.kv_transfer_params["hidden_states_path"])))

    def _normed(self, states: torch.Tensor) -> torch.Tensor:
        """The last layer's states through the final norm, where it is asked for, in the stored format."""
        import torch

        if self._norm is not None:
            with torch.inference_mode():
                states[:, -1] = self._norm(states[:, -1].float()).to(states.dtype)
        return states.to(torch_dtype(self._options.stored))


def _start(ref: ModelRef, options: ReaderOptions, folder: str) -> Any:
    from vllm import LLM

    from tools_shared.models.load import context_length, load_config, pick_device

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
        "speculative_config": {
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": list(options.layers)}},
        },
        "kv_transfer_config": {
            "kv_connector": "AskedRowsConnector",
            "kv_connector_module_path": "tools_shared.hidden.connector",
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {"shared_storage_path": folder},
        },
    }
    if pick_device(options.device) == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        settings["enforce_eager"] = True
    try:
        return LLM(**settings)
    except (ValueError, RuntimeError) as error:
        raise ToolError(f"{ref.spec}: vLLM does not start: {' '.join(str(error).split())[:400]}") from error


def _taken(path: Path) -> torch.Tensor:
    """The states in a request's file, which is then deleted; raises ToolError when it does not come."""
    from safetensors.torch import load

    end = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            raise ToolError(f"{path}: vLLM wrote no hidden states within {_PATIENCE} s; is its process alive?")
        time.sleep(0.002)
    states = load(path.read_bytes())["states"]
    path.unlink()
    return states


def final_norm(ref: ModelRef) -> nn.Module:
    """The model's final norm in float32, without the rest of its weights."""
    import torch
    from transformers import AutoModel

    from tools_shared.models.load import load_config

    with torch.device("meta"):
        model = AutoModel.from_config(load_config(ref).get_text_config())
    norm = dict(model.named_children()).get("norm")
    if norm is None:
        raise ToolError(f"{ref.spec}: a {type(model).__name__} has no 'norm' as Llama and Qwen do; pass --norm pre")
    norm = norm.to_empty(device="cpu").float()
    norm.load_state_dict({name: _weight(ref, f"norm.{name}").float() for name in norm.state_dict()})
    return norm


def _weight(ref: ModelRef, ending: str) -> torch.Tensor:
    """One tensor out of the safetensors files, by the end of its name below the blocks (`model.norm.weight`)."""
    from huggingface_hub import snapshot_download
    from safetensors import safe_open

    folder = Path(ref.weights if ref.is_local else snapshot_download(ref.weights, local_files_only=True))
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                if name.endswith(f"model.{ending}"):
                    return file.get_tensor(name)
    raise ToolError(f"{folder}: no tensor 'model.{ending}' in its safetensors files")
