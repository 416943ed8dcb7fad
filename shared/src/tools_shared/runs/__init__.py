"""The run directory: one format for every artifact.

A run is written to `OUTPUT_DIR.partial/` and renamed when it is whole, its manifest (`run.json`) last; so a folder
with a `run.json` is a finished run. A killed run is resumed by the same command, or refused with a message
that says what differs. A finished run is not overwritten unless `--overwrite` says so,
and then only where its folder holds nothing but what that run wrote (`replace`).
"""

from tools_shared.runs.config import RunConfig, check_file_name, default_output_dir
from tools_shared.runs.draft import Draft
from tools_shared.runs.opening import draft, finished
from tools_shared.runs.read import Manifest, check_unchanged, read_manifest, read_metrics

__all__ = [
    "Draft",
    "Manifest",
    "RunConfig",
    "check_file_name",
    "check_unchanged",
    "default_output_dir",
    "draft",
    "finished",
    "read_manifest",
    "read_metrics",
]
