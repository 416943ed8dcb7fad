"""The options of every command that makes a run directory, and where it is made by default."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tools_shared.config import Config, option


@dataclass(frozen=True)
class RunConfig(Config):
    """The options of every command that makes a run directory."""

    output_dir: str | None = option(
        None, "Run directory to make. Default: $OUTPUT_DIR/<stage>, with OUTPUT_DIR=artifacts.", identity=False
    )
    overwrite: bool = option(False, "Replace a finished run in the output directory.", identity=False)
    resume: Literal["auto", "never"] = option(
        "auto",
        "What to do with a run that was cut off: go on from it, or start anew.",
        identity=False,
        flag_value="auto",
    )


def default_output_dir(stage: str) -> Path:
    return Path(os.environ.get("OUTPUT_DIR", "artifacts")) / stage
