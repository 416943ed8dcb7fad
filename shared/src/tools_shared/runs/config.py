"""The options of every command that makes a run directory, and where it is made by default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools_shared.config import Config, option
from tools_shared.errors import ToolError

OWN_FILES = frozenset(
    "run.json config.yaml metrics.jsonl rejected.jsonl README.md draft.json debug model checkpoints".split()
)
"""What a run directory holds, or holds while it is written, besides the files that a tool makes."""


@dataclass(frozen=True)
class RunConfig(Config):
    """The options of every command that makes a run directory."""

    output_dir: str | None = option(
        None, "Run directory to make. Default: artifacts/<stage>, or $OUTPUT_DIR/<stage>.", identity=False
    )
    overwrite: bool = option(False, "Replace a finished run in the output directory.", identity=False)
    resume: Literal["auto", "never"] = option(
        "auto",
        "What to do with an interrupted run: resume it or start over.",
        identity=False,
        flag_value="auto",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # The run is written beside its folder and takes the folder's name when it is whole.
        if self.output_dir is not None and Path(self.output_dir).name in ("", ".."):
            raise ToolError(f"--output-dir '{self.output_dir}': does not name a folder of its own; name a new one")


def check_file_name(flag: str, name: str, taken: tuple[str, ...] = ()) -> None:
    """Raise ToolError unless `name` can be that of a file in a run directory: without a folder, not hidden, and none
    that the run has already (`taken`: of this tool)."""
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise ToolError(f"{flag} '{name}': give a name without a folder; --output-dir is the folder")
    if name in OWN_FILES or name in taken:
        raise ToolError(f"{flag} '{name}': a run has a file of this name already; choose another")


def default_output_dir(stage: str) -> Path:
    return Path(os.environ.get("OUTPUT_DIR", "artifacts")) / stage
