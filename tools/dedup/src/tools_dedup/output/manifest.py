"""`OUTPUT.run.json`: what went in, what came out, by which rule, and that no row is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tools_dedup import __version__
from tools_dedup.output.paths import TOOL, OutputPaths
from tools_shared.cli import Invocation
from tools_shared.config import Config
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.files.outputs import describe
from tools_shared.runs.document import document
from tools_shared.runs.read import SCHEMA_VERSION
from tools_shared.sources import files_among

KIND = "dedup"
MANY_REMOVED = 0.2


def write_manifest(
    paths: OutputPaths,
    drafts: OutputPaths,
    config: Config,
    invocation: Invocation,
    inputs: list[dict[str, Any]],
    outputs: Iterable[str],
    metrics: Mapping[str, Any],
    started: datetime,
    **more: Any,
) -> dict[str, Any]:
    """Write it last, so that a manifest means a whole run; returns it. `outputs` names the files that were written, now
    among `drafts` and soon at `paths`. Raises ToolError when rows are missing."""
    check_sum(metrics)
    manifest = document(
        KIND,
        replace(invocation, tool=TOOL, version=__version__),
        config,
        seed=config.to_dict().get("seed"),
        inputs=inputs,
        outputs={name: describe(paths.manifest, getattr(paths, name), getattr(drafts, name)) for name in outputs},
        metrics=metrics,
        started=started.isoformat(timespec="seconds"),
        **more,
    )
    write_json(drafts.manifest, manifest)
    return manifest


def check_sum(metrics: Mapping[str, Any]) -> None:
    """Rows in = kept + removed + rejected + not sampled, or the run is not to be believed."""
    parts = [metrics[name] for name in ("n_kept", "n_removed", "n_rejected", "n_not_sampled")]
    if metrics["n_rows"] != sum(parts):
        raise ToolError(f"rows are missing: {metrics['n_rows']} read, {parts} kept, removed, rejected, not sampled")


def metric_warnings(metrics: Mapping[str, Any], model: Mapping[str, Any] | None) -> list[str]:
    """What the counts of a run give cause to say; `model` is the manifest's."""
    found = []
    if metrics["removed_share"] > MANY_REMOVED:
        found.append(
            f"{100 * metrics['removed_share']:.1f} % of the training rows went; look at the report before you train"
        )
    if n_lost := metrics["n_test_rejected"]:
        found.append(
            f"INCOMPLETE TEST SET: {n_lost} test row{'s' * (n_lost > 1)} could not be used (see *.rejected.jsonl); "
            "what repeats them stays"
        )
    if n_cut := metrics["n_truncated"] + metrics["n_test_truncated"]:
        found.append(
            f"{n_cut} texts are longer than the model's {model['max_tokens']} tokens and were compared by their "
            "beginning; --long chunk compares all of them"
        )
    return found


def say_warnings(warnings: list[str]) -> list[str]:
    for warning in warnings:
        say(f"warning: {warning}")
    return warnings


def input_files(manifest: Mapping[str, Any]) -> Iterator[Path]:
    """The files that a run was made from, those of them that are still there."""
    for entry in manifest["inputs"]:
        yield from files_among(*(one["path"] for one in entry.get("sources", [entry])))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a dedup run. Raises ToolError when it is none."""
    import json

    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["kind"] != KIND or manifest["schema_version"] > SCHEMA_VERSION:
            raise ValueError(f"kind {manifest['kind']!r}, format {manifest['schema_version']}")
    except FileNotFoundError:
        raise ToolError(f"{path}: no such manifest; it is beside the output of tools-dedup run") from None
    except OSError as error:
        raise ToolError(
            f"{path}: cannot be read ({error.strerror}); give the OUTPUT.run.json of tools-dedup run"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{path}: not the manifest of a dedup run ({error})") from error
    return manifest
