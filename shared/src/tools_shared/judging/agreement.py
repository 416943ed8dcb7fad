"""What has been measured of a judge: its agreement with people's labels, kept with the judge and printed beside its
scores.

`tools-bench agreement` writes it into the judge's run where it is one that is loaded here, else into a file beside the
rubric. It holds for the words that it was measured with: a rubric that asks something else has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.judging.rubric import Rubric
from tools_shared.runs.read import MANIFEST

FILE = "agreement.json"
NOT_MEASURED = "agreement with people's labels not measured"


def agreement_path(rubric: Rubric, path: Path) -> Path:
    """Where the agreement of the judge of the rubric in `path` is kept."""
    options = rubric.judge
    if options.agreement is not None:
        given = Path(options.agreement)
        return given / FILE if given.is_dir() else given
    if options.endpoint is None and options.model and (Path(options.model) / MANIFEST).is_file():
        return Path(options.model) / FILE
    return path.with_name(f"{path.stem}.{FILE}")


def keep_agreement(rubric: Rubric, path: Path, measured: Mapping[str, Any]) -> Path:
    """Note what was measured, in place of an earlier measurement of the same judge with the same words."""
    file = agreement_path(rubric, path)
    records = {**_records(file), _key(rubric, file, path): dict(measured)}
    write_json(file, records)
    return file


def agreement_line(rubric: Rubric, path: Path) -> str:
    """One line about the judge's agreement, also where it has not been measured."""
    file = agreement_path(rubric, path)
    record = _records(file).get(_key(rubric, file, path))
    if record is None:
        return f"{NOT_MEASURED} (tools-bench agreement {path} --data LABELLED)"
    try:
        told = "; ".join(_told(name, figures) for name, figures in record["criteria"].items())
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ToolError(f"{file}: is no record of tools-bench agreement; delete it and measure again") from None
    return f"agreement with people's labels: {told}"


def _key(rubric: Rubric, file: Path, path: Path) -> str:
    """A file beside a rubric may be of several judges, one in a run is of that run."""
    beside = rubric.judge.agreement is None and file.parent == path.parent and file.name != FILE
    return f"{rubric.asked_sha256} {rubric.judge.model}" if beside else rubric.asked_sha256


def _records(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ToolError(f"{file}: is no record of tools-bench agreement; delete it and measure again")
    return found


def _told(name: str, figures: Mapping[str, Any]) -> str:
    parts = []
    for key, shown in (("balanced_accuracy", "balanced accuracy"), ("accuracy", "accuracy"), ("kappa", "kappa")):
        one = figures.get(key)
        if one is None or (key == "accuracy" and figures.get("balanced_accuracy")):
            continue
        scale, digits, unit = (1, 2, "") if key == "kappa" else (100, 1, " %")
        low, high = (f"{scale * one[end]:.{digits}f}" for end in ("low", "high"))
        parts.append(f"{shown} {scale * one['estimate']:.{digits}f}{unit} [{low}, {high}]")
    return f"{name} {', '.join(parts)}, n={figures['n']}"
