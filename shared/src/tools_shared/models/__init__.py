"""What `--base-model` means, and how models and adapters are loaded.

`resolve` costs nothing and touches no weights; the functions that do import torch when they are called.
"""

from tools_shared.models.load import Loaded, ModelConfig, load, weights_sha256
from tools_shared.models.resolve import ModelRef, choose_profile, local_path, resolve

__all__ = [
    "Loaded",
    "ModelConfig",
    "ModelRef",
    "choose_profile",
    "load",
    "local_path",
    "resolve",
    "weights_sha256",
]
