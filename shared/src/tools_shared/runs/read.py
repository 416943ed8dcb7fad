"""Reading a finished run back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError, brief
from tools_shared.files import sha256_file

SCHEMA_VERSION = 1
MANIFEST = "run.json"


@dataclass(frozen=True)
class Manifest:
    """A finished run's `run.json`; `sha256` is that of the file, by which a child run names its parent."""

    path: Path
    data: Mapping[str, Any]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "data": dict(self.data), "sha256": self.sha256}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        return cls(Path(values["path"]), values["data"], values["sha256"])

    @property
    def kind(self) -> str:
        return self.data["kind"]

    @property
    def metrics(self) -> Mapping[str, Any]:
        return self.data["metrics"]

    @property
    def options(self) -> dict[str, Any]:
        """Each option's value."""
        return {name: entry["value"] for name, entry in self.data["options"].items()}

    @property
    def identity(self) -> Mapping[str, Any]:
        """The options that decided the result."""
        return self.data["identity"]

    def parents(self) -> list[str]:
        """Manifest hashes of the runs that this one was made from."""
        return [entry["run_sha256"] for entry in self.data["inputs"] if entry.get("run_sha256")]


def read_manifest(run_dir: str | Path) -> Manifest:
    """Read `run.json`; raises ToolError when the run is missing, unfinished, or of a newer format."""
    run_dir = Path(run_dir)
    path = run_dir / MANIFEST
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError(_why_missing(run_dir)) from None
    try:
        data = json.loads(raw)
        version = data["schema_version"]
        _check_kinds(data)
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        reason = brief(" ".join(str(error).split()), quoted=False)
        raise ToolError(f"{path}: not a run manifest ({reason}); make the run again") from error
    if version > SCHEMA_VERSION:
        raise ToolError(f"{path}: format {version} is newer than this tool reads ({SCHEMA_VERSION}); update the tool")
    return Manifest(run_dir, data, hashlib.sha256(raw).hexdigest())


def _check_kinds(data: Mapping[str, Any]) -> None:
    """Raises TypeError for a part that is not of its kind."""
    kinds = {"schema_version": int, "kind": str, "metrics": dict, "options": dict, "identity": dict, "outputs": dict}
    for name, kind in {**kinds, "inputs": list, "sessions": list}.items():
        if not isinstance(data.get(name, kind()), kind):
            raise TypeError(f"{name} is {brief(data[name], 40)}")
    parts = {name: data.get(name, {}).values() for name in ("options", "outputs")} | {"inputs": data.get("inputs", [])}
    for name, entries in parts.items():
        if wrong := next((entry for entry in entries if not isinstance(entry, dict)), None):
            raise TypeError(f"{name} hold {brief(wrong, 40)}")
    if not isinstance(data.get("kind"), str):
        raise TypeError("it has no kind")


def check_unchanged(path: str | Path) -> None:
    """Raises ToolError when a file that a finished run lists is not the one that the run wrote; a file of no run is not
    checked. What a run has derived is compared with its hash before it decides anything else."""
    path = Path(path).resolve()
    for folder in path.parents:
        if not (folder / MANIFEST).is_file():
            continue
        entry = read_manifest(folder).data.get("outputs", {}).get(path.relative_to(folder).as_posix())
        if entry is not None and path.is_file() and sha256_file(path) != entry["sha256"]:
            raise ToolError(f"{path}: is not as the run in {folder} wrote it; restore it, or make the run again")
        return


def _why_missing(run_dir: Path) -> str:
    partial = partial_dir(run_dir)
    if partial.is_dir():
        return f"{run_dir}: this run has not finished ({partial.name} is there); run its command again to finish it"
    if not run_dir.exists():
        return f"{run_dir}: no such run directory"
    return f"{run_dir}: not a run directory (no {MANIFEST} in it)"


def partial_dir(run_dir: Path) -> Path:
    return run_dir.with_name(run_dir.name + ".partial")


def read_metrics(run_dir: str | Path) -> Iterator[dict[str, Any]]:
    """The steps of `metrics.jsonl`, in order; a torn last line, left by a kill, is passed over."""
    path = Path(run_dir) / "metrics.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
