"""What a result cost: the run's own cost and that of every run it was made from, each counted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools_shared.costs.record import add_costs, cost_words
from tools_shared.errors import ToolError
from tools_shared.runs.read import MANIFEST, Manifest, read_manifest

PARTS = {"seconds", "sessions", "devices", "tokens", "money", "money_unknown"}
UP = 2
"""Folders above an input's path in which its run is looked for: a model lies in its run, a file too."""


@dataclass
class LineageCost:
    """The runs counted, by manifest hash, and the ancestors whose cost cannot be known, each with the reason."""

    runs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = cost_words(self.total) if self.runs else "unknown"
        return f"{words}; without {', '.join(self.unknown.values())}" if self.unknown else words

    @property
    def total(self) -> dict[str, Any]:
        """The sum, as one record (see `tools_shared.costs.record`)."""
        return add_costs(self.runs.values())


def cost_behind(runs: Iterable[Path | Manifest], known: Sequence[Manifest] = ()) -> LineageCost:
    """What these runs and all their ancestors cost together. Ancestors are found at their paths, or among `known`."""
    found = LineageCost()
    by_hash = {manifest.sha256: manifest for manifest in known}
    makers = {
        file["sha256"]: manifest
        for manifest in known
        for name, file in manifest.data.get("outputs", {}).items()
        if not name.startswith("debug/")
    }
    for run in runs:
        _add(run if isinstance(run, Manifest) else read_manifest(run), found, by_hash, makers)
    return found


def _add(
    manifest: Manifest, found: LineageCost, by_hash: Mapping[str, Manifest], makers: Mapping[str, Manifest]
) -> None:
    if manifest.sha256 in found.runs or manifest.sha256 in found.unknown:
        return
    cost = manifest.data.get("cost")
    if isinstance(cost, Mapping) and set(cost) >= PARTS:
        found.runs[manifest.sha256] = cost
    else:
        found.unknown[manifest.sha256] = f"{manifest.path} (recorded no cost)"
    for entry in manifest.data["inputs"]:
        sha256 = entry.get("run_sha256")
        parent = by_hash.get(sha256) or makers.get(entry["sha256"]) or _at_path(entry)
        if parent is not None:
            _add(parent, found, by_hash, makers)
        elif sha256 is not None:
            found.unknown[sha256] = f"{entry['path']} (is not there as it was)"


def _at_path(entry: Mapping[str, Any]) -> Manifest | None:
    """The run that an input is, or that wrote it, where it is still the same one."""
    for manifest in _near(str(entry["path"])):
        if entry.get("run_sha256") is not None:
            if manifest.sha256 == entry["run_sha256"]:
                return manifest
        elif any(file.get("sha256") == entry["sha256"] for file in manifest.data.get("outputs", {}).values()):
            return manifest
    return None


def _near(path: str) -> Iterator[Manifest]:
    if "://" in path:
        return
    place = Path(path)
    for folder in (place, *list(place.parents)[:UP]):
        if (manifest := _run_in(folder)) is not None:
            yield manifest


def _run_in(folder: Path) -> Manifest | None:
    """The run in a folder; None without one, and for what cannot be a path."""
    try:
        return read_manifest(folder) if (folder / MANIFEST).is_file() else None
    except (OSError, ToolError):
        return None
