"""Options of tools-bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from tools_shared.config import option
from tools_shared.evaluation import EvalConfig
from tools_shared.runs import RunConfig


@dataclass(frozen=True)
class EvaluateConfig(EvalConfig, RunConfig):
    """Evaluate one model on one test set."""

    TOOL: ClassVar[str] = "bench"
    ALIASES: ClassVar[Mapping[str, str]] = {"eval_path": "eval_file", "base_model": "model_path"}

    model_path: str = option(
        "demo", "Hub id, model folder, adapter folder, run directory, or 'demo'.", flags=("--base-model",)
    )
    output_file: str | None = option(None, "Also write the per-example CSV under this name in the output directory.")


@dataclass(frozen=True)
class CompareConfig(RunConfig):
    """Compare evaluations of the same test problems."""

    TOOL: ClassVar[str] = "bench"

    baseline: str | None = option(None, "The run that the others are compared with. Default: the first.")
    confidence: float = option(0.95, "Confidence of the intervals.", minimum=0.5, maximum=0.9999)
    title: str | None = option(None, "Title of the chart.")
    runs: tuple[str, ...] = option((), "Run directories, or per-example CSV files.")
