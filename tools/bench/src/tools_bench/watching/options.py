"""Options of `tools-bench watch`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tools_bench.requests.suite import DEFAULT
from tools_shared.config import option
from tools_shared.engines import LocalEngineConfig


@dataclass(frozen=True)
class WatchConfig(LocalEngineConfig):
    """Benchmark every new run and judge it by a policy."""

    TOOL: ClassVar[str] = "bench"
    PANEL: ClassVar[str] = "Model"

    root: str = option("", "Folder that holds the runs.", panel="Run")
    policy: str | None = option(None, "YAML file of gates: see docs/watch.md. Default: no gates.", panel="Comparison")
    suite: str = option(DEFAULT, "quick, standard, comprehensive, or a YAML file.", panel="Data")
    limit: int | None = option(None, "Use the first N items of each task. Default: all.", minimum=1, panel="Data")
    max_new_tokens: int = option(1024, "Longest completion, in tokens.", minimum=1, panel="Sampling")
    seed: int = option(0, "Seed of everything that is sampled.", panel="Sampling")
    once: bool = option(False, "Benchmark what is there, judge it, and end: for CI.", panel="Run")
    interval: float = option(30.0, "Seconds between two looks at the folder.", minimum=0.1, panel="Run")
    output_dir: str = option(
        "outputs/watch", "Folder of the benchmarks, junit.xml, gates.json and report.html.", panel="Run"
    )
