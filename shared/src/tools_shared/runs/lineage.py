"""Whether anything vouches that a model's training data does not hold the test questions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.runs.read import MANIFEST, read_manifest

DATA = ("train", "data")
DISJOINT = "demo://problems"
"""The demo's splits share no question by construction."""
MODELS = ("base_model", "model", "teacher")


def undeduplicated(inputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The training data, among a run's inputs and those of its ancestors, that no run of tools-dedup made.

    `inputs` are a manifest's. An ancestor that is not there any more is passed over: nothing is known of it.
    """
    found: dict[str, None] = {}
    for entry in inputs:
        if is_data(entry):
            found.update(dict.fromkeys(_unvouched(entry["path"], entry["sha256"])))
        elif entry["name"] in MODELS and entry.get("run_sha256") is not None:
            found.update(dict.fromkeys(_ancestors(entry["path"])))
    return list(found)


def trained_on(inputs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The training data among a run's inputs and those of its ancestors, each source once.

    An ancestor that is not there any more is passed over.
    """
    found: dict[str, None] = {}
    for entry in inputs:
        if is_data(entry):
            found[entry["path"]] = None
        if (is_data(entry) or entry["name"] in MODELS) and (folder := _run_of(entry)) is not None:
            found.update(dict.fromkeys(trained_on(read_manifest(folder).data["inputs"])))
    return list(found)


def _run_of(entry: Mapping[str, Any]) -> Path | None:
    """The directory of the run that made an input, where it is still there."""
    path = Path(entry["path"])
    folders = [path.parent] if is_data(entry) else [path]
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def is_data(entry: Mapping[str, Any]) -> bool:
    """Whether an input is training data; the second and further sources are numbered, as in `train 2`."""
    return entry["name"].partition(" ")[0] in DATA


def warning(paths: list[str]) -> str:
    """One sentence for a person, empty when there is nothing to say."""
    if not paths:
        return ""
    return (
        f"warning: trained on {', '.join(paths)}, which tools-dedup has not compared with a test set: "
        "test questions may be among it, and the accuracy too high"
    )


def _ancestors(run_dir: str) -> list[str]:
    try:
        return undeduplicated(read_manifest(run_dir).data["inputs"])
    except ToolError:
        return []


def _unvouched(source: str, sha256: str) -> list[str]:
    """Nothing for what dedup kept; for rows that a run of ours made (traces), what those were made from."""
    path = Path(source)
    if source.startswith(DISJOINT) or cleaned_by(path, sha256) is not None:
        return []
    if (path.parent / MANIFEST).exists():
        return undeduplicated(e for e in read_manifest(path.parent).data["inputs"] if is_data(e))
    return [source]


def cleaned_by(path: Path, sha256: str) -> Mapping[str, Any] | None:
    """The manifest of the run of tools-dedup that kept exactly this file; it is beside that file. None without one."""
    manifest = path.with_name(f"{path.stem}.run.json")
    if not manifest.is_file():
        return None
    data = json.loads(manifest.read_text(encoding="utf-8"))
    return data if data.get("kind") == "dedup" and data["outputs"]["kept"]["sha256"] == sha256 else None
