"""When a run that is there may not pass for the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.runs.read import MANIFEST, Manifest, read_manifest
from tools_shared.sources import source_sha256


def refuse_changed_inputs(manifest: Manifest) -> None:
    """A run that was made from what has changed since does not pass for one of today's."""
    for entry in manifest.data["inputs"]:
        path = Path(entry["path"])
        if entry["run_sha256"] is not None and (path / MANIFEST).exists():
            changed = read_manifest(path).sha256 != entry["run_sha256"]
        else:
            changed = path.is_file() and source_sha256(path) != entry["sha256"]
        if changed:
            raise ToolError(f"{manifest.path}: {path} has changed since; pass --overwrite to make this run again")


def refuse_difference(there: Mapping[str, Any], here: Mapping[str, Any], path: Path, remedy: str) -> None:
    """Raises ToolError naming the first options in which two configurations differ."""
    differs = [
        f"{k} is {there.get(k)!r} there, {here.get(k)!r} here" for k in {**there, **here} if there.get(k) != here.get(k)
    ]
    if differs:
        more = f" (and {len(differs) - 3} more)" if len(differs) > 3 else ""
        raise ToolError(f"{path} has another configuration: {'; '.join(differs[:3])}{more}; {remedy}")
