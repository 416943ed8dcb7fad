"""What `--base-model` means, and how models are loaded, given a LoRA adapter, and saved.

`resolve` costs nothing and touches no weights; the functions that do import torch when they are called.
"""

from tools_shared.models.load import Loaded, ModelConfig, load, weights_sha256
from tools_shared.models.resolve import ModelRef, choose_profile, resolve
from tools_shared.models.save import save, save_merged
from tools_shared.models.train import LoraOptions, make_trainable

__all__ = [
    "Loaded",
    "LoraOptions",
    "ModelConfig",
    "ModelRef",
    "choose_profile",
    "load",
    "make_trainable",
    "resolve",
    "save",
    "save_merged",
    "weights_sha256",
]
