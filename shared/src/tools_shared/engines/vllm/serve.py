"""vLLM's server on a finished run: its base with its adapter, under the run's name, with the run's own ends.

    python -m tools_shared.engines.vllm.serve artifacts/grpo --port 8000

Words after the run go to vLLM. `make serve RUN=artifacts/grpo` is this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tools_shared.console import tell
from tools_shared.devices import pick_device, pick_dtype
from tools_shared.engines.vllm.engine import lora_rank
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, resolve
from tools_shared.models.adapters import is_lora_alone
from tools_shared.models.load import context_length, load_config

BASE = "base"
"""What the weights without the adapter are called on a server that has one."""


def command(run: str, more: Sequence[str] = ()) -> list[str]:
    """The words that start the server. Raises ToolError for what is no model, or an adapter that vLLM does not take."""
    ref = resolve(run)
    name = Path(run).resolve().name if Path(run).exists() else run
    # `vllm serve` of the package for CPUs does not start; this module is what it runs.
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", ref.weights]
    words += _adapter(ref, name) if ref.adapter else ["--served-model-name", name]
    words += [*_place(ref), *([] if "--host" in more else ["--host", "127.0.0.1"])]
    return [*words, *more]  # of a word that is given twice vLLM takes the last


def _place(ref: ModelRef) -> list[str]:
    """The number format that the other engines take here, and what vLLM needs without a GPU."""
    place = pick_device("auto")
    words = ["--dtype", str(pick_dtype("auto", place)).removeprefix("torch.")]
    if place == "cpu":
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        longest = max(8192, context_length(load_config(ref)) or 0)
        words += ["--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(longest)]
    return words


def _adapter(ref: ModelRef, name: str) -> list[str]:
    folder = Path(str(ref.adapter)).resolve()
    if not is_lora_alone(folder):
        raise ToolError(f"{folder}: holds more than LoRA, which vLLM does not take; serve the run's export --to merged")
    words = ["--served-model-name", BASE, "--enable-lora", "--max-lora-rank", str(lora_rank(ref))]
    words += ["--lora-modules", f"{name}={folder}"]
    if (folder / "generation_config.json").exists():
        words += ["--generation-config", str(folder)]
    if (folder / "tokenizer_config.json").exists():
        words += ["--tokenizer", str(folder)]
    return words


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(f"{__doc__}")
    try:
        words = command(sys.argv[1], sys.argv[2:])
    except ToolError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:  # an adapter of another user is for safetensors one that is not there
        sys.exit(f"Error: {sys.argv[1]}: user {os.getuid()} cannot read this model ({error})")
    tell(" ".join(words))
    os.execv(words[0], words)  # noqa: S606 - the words are ours, and the server takes this process's place


if __name__ == "__main__":
    main()
