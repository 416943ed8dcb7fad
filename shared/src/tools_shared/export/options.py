"""Options of `export`, the same in every tool that trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tools_shared.config import option
from tools_shared.errors import ToolError
from tools_shared.runs import RunConfig


@dataclass(frozen=True)
class ExportConfig(RunConfig):
    """Which run becomes what."""

    PANEL: ClassVar[str] = "Model"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)
    READS_ROWS: ClassVar[bool] = False

    run: str = option("", "The run directory.")
    to: Literal["merged", "gguf", "ollama", "hub"] = option(
        "merged",
        "merged: whole weights in the base's number format; gguf: one file for llama.cpp; ollama: that and a "
        "Modelfile; hub: a folder with a model card.",
    )
    gguf_format: Literal["auto", "f16", "bf16", "q8_0"] = option(
        "auto", "Number format of --to gguf and ollama. auto: bf16 where the weights are stored so, else f16."
    )
    name: str | None = option(
        None, "Name of the model on servers and in its card. Default: that of the run's folder.", identity=False
    )
    push: str | None = option(
        None, "Upload the folder of --to hub to this repository (OWNER/NAME); needs HF_TOKEN.", identity=False
    )
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "Where to merge and compare. auto: a GPU when there is one.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.push is not None and self.to != "hub":
            raise ToolError(f"--push uploads the folder of --to hub; --to is {self.to}")
        if self.gguf_format != "auto" and self.to not in ("gguf", "ollama"):
            raise ToolError(f"--gguf-format is about --to gguf and --to ollama; --to is {self.to}")
