"""Where models run, and the number formats of weights and hidden states by the names that options have."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tools_shared.config.environment import value_of
from tools_shared.config.spellings import VALUES
from tools_shared.costs.meter import uses
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import torch

DTYPES = {ours: theirs for theirs, ours in VALUES.items()}
"""Our names of number formats, and torch's."""
STORED = {"F32": "fp32", "BF16": "bf16", "F16": "fp16"}
"""safetensors' names of them, and ours."""


def torch_dtype(name: str) -> torch.dtype:
    """fp32, bf16 or fp16 as torch names it."""
    import torch

    return getattr(torch, DTYPES[name])


def dtype_name(dtype: torch.dtype) -> str:
    """The name that options have for a number format of torch's."""
    return next(name for name, long in DTYPES.items() if long == str(dtype).removeprefix("torch."))


def pick_device(device: str) -> str:
    """`cuda` or `cpu`. `auto` is a GPU when there is one; TOOLS_DEVICE=cuda, as in the CUDA images, makes it insist.

    Raises ToolError, with the driver's own complaint, when a GPU is asked for and none is there.
    """
    import torch

    if device == "auto":
        device = value_of("TOOLS_DEVICE") or "auto"
    if device == "cpu":
        return _used(device)
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    if device == "cuda" and not there:
        why = f" ({str(complaints[-1].message).splitlines()[0]})" if complaints else ""
        raise ToolError(
            f"torch sees no GPU here{why}; check the driver, give a container --gpus all, or pass --device cpu"
        )
    return _used("cuda" if there else "cpu")


def _used(device: str) -> str:
    """The device, which a run's cost counts from now on."""
    uses(device)
    return device


def multiplies_bf16() -> bool:
    """Whether this machine's processor has instructions for products of bf16 numbers (x86: AVX512_BF16 or AMX_BF16);
    others convert each number first, and are slower than with fp32."""
    import torch

    has: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def pick_dtype(dtype: str, device: str) -> torch.dtype:
    """What is computed in where something is trained or read: `auto` is bf16 on a GPU that has it, else fp32."""
    import torch

    if dtype != "auto":
        return torch_dtype(dtype)
    return torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
