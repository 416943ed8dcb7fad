"""What the list says of a finished run: from its manifest, and from the results where it is a benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tools_bench.grading.results import FILE as RESULTS
from tools_bench.report.entries import COMPARISONS
from tools_bench.report.history import is_finite
from tools_bench.view.places import Place, stamp
from tools_bench.view.stored import has_replies
from tools_shared.errors import ToolError, brief
from tools_shared.runs.read import MANIFEST, Manifest, read_manifest

LARGEST = 64 * 2**20
"""Bytes of a manifest or of results; larger ones are not read."""
MODELS = ("model", "base_model", "model_name")
TESTS = ("suite", "eval_data")


def file_of(place: Place, name: str) -> Path:
    """The per-example CSV of a run, whose name the index tells: always one in its `debug` folder."""
    return place.folder / "debug" / Path(name).name


def run_manifest(place: Place) -> Manifest:
    """Raises ToolError as `read_manifest`, and for one that is too large."""
    path = place.folder / MANIFEST
    if path.stat().st_size > LARGEST:
        raise ToolError(f"{path}: is larger than {LARGEST} bytes")
    return read_manifest(place.folder)


def run_facts(place: Place) -> tuple[dict[str, Any], Path | None]:
    """The columns of a run in the index, and its per-example CSV where it has one. A run that cannot be read has its
    `problem` in them."""
    row: dict[str, Any] = {
        "id": place.id, "name": place.shown, "kind": "", "model": "", "test": "", "metric": None, "score": None,
        "low": None, "high": None, "n": None, "finished": "", "seconds": None, "file": None, "n_replies": 0,
        "n_right": 0, "n_wrong": 0, "outcomes": "{}", "problem": None, "stamp": stamp(place.folder / MANIFEST),
        "file_stamp": "",
    }  # fmt: skip
    try:
        manifest = run_manifest(place)
    except (ToolError, OSError) as error:
        return row | {"problem": brief(str(error), 300, quoted=False)}, None
    row |= _told(manifest, _results(place.folder / RESULTS))
    path = file_of(place, f"{manifest.kind}_{manifest.data.get('run_id', '')}.csv")
    if path.is_symlink() or not path.is_file() or not has_replies(path):
        return row, None
    return row | {"file": path.name, "file_stamp": stamp(path)}, path


def _told(manifest: Manifest, results: Mapping[str, Any]) -> dict[str, Any]:
    options = {name: entry.get("value") for name, entry in manifest.data.get("options", {}).items()}
    metric = None if manifest.kind in COMPARISONS else headline_of(manifest.metrics, results)
    rate = manifest.metrics[metric] if metric else {}
    return {
        "kind": manifest.kind,
        "model": _text(results.get("model_name") or _first(options, MODELS)),
        "test": _text(results.get("suite") or _first(options, TESTS)),
        "metric": metric,
        **{name: rate.get(key) for name, key in (("score", "estimate"), ("low", "low"), ("high", "high"), ("n", "n"))},
        "finished": _text(manifest.data.get("finished")),
        "seconds": _seconds(manifest.data),
    }


def headline_of(metrics: Mapping[str, Any], results: Mapping[str, Any]) -> str | None:
    """The metric that a run is listed with: its suite's first headline, else its accuracy, else its first rate."""
    heads = results.get("headline")
    wanted = [*map(str, heads.values())] if isinstance(heads, Mapping) else []
    return next((name for name in (*wanted, "accuracy", *metrics) if is_rate(metrics.get(name))), None)


def is_rate(value: Any) -> bool:
    """Whether a metric is an estimate with its interval, all of them numbers."""
    if not isinstance(value, Mapping):
        return False
    return all(is_finite(value.get(name)) for name in ("estimate", "low", "high", "n"))


def _results(path: Path) -> Mapping[str, Any]:
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return {}
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, Mapping) else {}


def _first(options: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((options[name] for name in names if options.get(name)), "")


def _text(value: Any) -> str:
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    return brief(words, 200, quoted=False)


def _seconds(data: Mapping[str, Any]) -> float | None:
    try:
        return (datetime.fromisoformat(data["finished"]) - datetime.fromisoformat(data["started"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
