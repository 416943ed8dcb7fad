"""What storing hidden states asks of vLLM, and what it leaves: a file for each request.

vLLM gives the states before the final norm; where the last layer's are wanted after it, it is applied here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.models import ModelRef

if TYPE_CHECKING:
    import torch
    from torch import nn

POSITIONS = "positions"
"""Key of a request's `kv_transfer_params`: the token indices whose states are kept, prompt and output counted on."""
OUTPUT = "include_output_tokens"
"""Key that asks instead for the prompt's last token and every output token but the last, which no forward has read."""
PATH = "hidden_states_path"
"""Key of an output's `kv_transfer_params`: the file that the connector writes, in the engine's next step."""
_PATIENCE = 60
"""Seconds to wait for that file."""


def storing_options(layers: Sequence[int], folder: str | Path) -> dict[str, Any]:
    """Options of `vllm.LLM` that make it write the states of `layers` (0 is the embedding) into `folder`."""
    return {
        "speculative_config": {
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": list(layers)}},
        },
        "kv_transfer_config": {
            "kv_connector": "AskedRowsConnector",
            "kv_connector_module_path": "tools_shared.states.connector",
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {"shared_storage_path": str(folder)},
        },
    }


def taken(path: Path, norm: nn.Module | None) -> torch.Tensor:
    """The states [n, n_layers, hidden] in a request's file, which is then deleted; `norm` is applied to the last layer.

    Raises ToolError when the file does not come.
    """
    import torch
    from safetensors.torch import load

    end = time.monotonic() + _PATIENCE
    while not path.exists():
        if time.monotonic() > end:
            raise ToolError(f"{path}: vLLM wrote no hidden states within {_PATIENCE} s; is its process alive?")
        time.sleep(0.002)
    states = load(path.read_bytes())["states"]
    path.unlink()
    if norm is not None:
        with torch.inference_mode():
            states[:, -1] = norm(states[:, -1].float()).to(states.dtype)
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
