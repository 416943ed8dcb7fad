"""The commands that serve an export, as they are typed."""

from __future__ import annotations

import shlex
from pathlib import Path


def of(to: str, folder: Path, name: str, repository: str | None = None) -> str:
    """One line for a shell."""
    if to == "gguf":
        words = ["llama-server", "-m", str(folder / "model.gguf"), "--alias", name, "--jinja"]
        return shlex.join(words)
    if to == "ollama":
        made = shlex.join(["ollama", "create", name, "-f", str(folder / "Modelfile")])
        return f"{made} && {shlex.join(['ollama', 'run', name])}"
    source = repository or str(folder / "model")
    if (folder / "model" / "adapter_config.json").exists():
        return f"make serve RUN={shlex.quote(str(folder))}"
    return shlex.join(["vllm", "serve", source, "--served-model-name", name])
