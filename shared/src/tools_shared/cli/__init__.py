"""Shared by every command line: precedence of values, errors to exit codes, `--json`, logging, progress.

Flag over environment over `--config FILE.yaml` over default. Exit codes: 0 done, 1 something the user can fix,
2 wrong usage, 3 incomplete and resumable. What is a bug keeps its traceback.
"""

from __future__ import annotations

from typing import Any

from tools_shared import processes
from tools_shared.cli.commands import DefaultGroup, ToolCommand, ToolGroup, disk_full
from tools_shared.cli.options import Invocation, config_options, resolve
from tools_shared.console import progress, say, show, show_json

__all__ = [
    "DefaultGroup",
    "Invocation",
    "ToolCommand",
    "ToolGroup",
    "config_options",
    "disk_full",
    "progress",
    "resolve",
    "say",
    "show_run",
]


def show_run(manifest: Any, as_json: bool) -> None:
    """A finished run on stdout: its path, or for a program one line of JSON with path, kind and metrics."""
    if not processes.is_main():
        return
    if as_json:
        result = {"path": str(manifest.path), "kind": manifest.kind, "metrics": manifest.metrics}
        show_json(result)
    else:
        show(manifest.path)
