"""`tools-dedup merge`: the shards of one run as the run itself would have written them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_dedup.config import DedupConfig
from tools_dedup.output.manifest import (
    check_sum,
    input_files,
    metric_warnings,
    read_manifest,
    say_warnings,
    write_manifest,
)
from tools_dedup.output.paths import opened_outputs, output_paths
from tools_dedup.output.report import Digest
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file

_SUMMED = ("n_rows", "n_kept", "n_removed", "n_rejected", "n_not_sampled", "n_kept_by_guard", "n_verdicts", "n_encoded",
           "n_truncated")  # fmt: skip
_NAMES = ("kept", "removed", "matches", "rejected")


def merge(
    run_paths: Sequence[str], output_path: str, invocation: Invocation, overwrite: bool = False
) -> dict[str, Any]:
    """Join shards, given by their OUTPUT.run.json in any order; returns the manifest.

    Raises ToolError when one is missing, doubled, changed, or of another run.
    """
    started = datetime.now(UTC)
    shards = _in_order([(Path(path), read_manifest(Path(path))) for path in run_paths])
    first = shards[0][1]
    stored = {n: tuple(e["value"]) if isinstance(e["value"], list) else e["value"] for n, e in first["options"].items()}
    here = {"shard": None, "output_path": output_path, "removed_path": None, "matches_path": None}
    config = DedupConfig(**DedupConfig.renamed(stored) | here)
    paths = output_paths(output_path, None, None)
    metrics = _metrics([manifest["metrics"] for _, manifest in shards])
    check_sum(metrics)
    with opened_outputs(paths, overwrite, _used(shards)) as drafts:
        written = [*_NAMES, "review"] if config.review else list(_NAMES)
        for name in written:
            _join([_part(path, manifest, name) for path, manifest in shards], getattr(drafts, name))
        digest = Digest(config.review_band)
        with drafts.matches.open(encoding="utf-8") as lines:
            for line in lines:
                digest.add(json.loads(line))
        written += digest.write(drafts, paths.kept.name, first["rules"], metrics)
        inputs = [
            {**entry, "n_read": metrics["n_rows"]} if entry["name"] == "train" else entry for entry in first["inputs"]
        ]
        warnings = say_warnings(_warnings([manifest for _, manifest in shards], metrics))
        about = {"rules": first["rules"], "model": first["model"], "warnings": warnings}
        return write_manifest(paths, drafts, config, invocation, inputs, written, metrics, started, **about)


def _in_order(shards: list[tuple[Path, dict[str, Any]]]) -> list[tuple[Path, dict[str, Any]]]:
    if not shards:
        raise ToolError("no shard was given; name each shard's OUTPUT.run.json")
    numbered: dict[int, tuple[Path, dict[str, Any]]] = {}
    total, same = None, None
    for path, manifest in shards:
        identity = DedupConfig.renamed(manifest["identity"])
        shard = identity.pop("shard", None)
        if shard is None:
            raise ToolError(f"{path}: is a whole run, not a shard")
        i, n = (int(part) for part in shard.split("/"))
        key = (n, identity, [(e["name"], e["sha256"]) for e in manifest["inputs"]])
        if same is not None and key != same:
            raise ToolError(f"{path}: has other options or other data than {shards[0][0]}")
        if i in numbered:
            raise ToolError(f"{path}: shard {shard} was given twice, first as {numbered[i][0]}")
        total, same, numbered[i] = n, key, (path, manifest)
    if missing := sorted(set(range(total)) - numbered.keys()):
        raise ToolError(f"of {total} shards {', '.join(map(str, missing))} is missing; give every OUTPUT.run.json")
    return [numbered[i] for i in range(total)]


def _part(path: Path, manifest: Mapping[str, Any], name: str) -> Path:
    entry = manifest["outputs"][name]
    part = path.parent / entry["path"]
    if not part.exists() or sha256_file(part) != entry["sha256"]:
        raise ToolError(f"{part}: is missing or not as the shard wrote it; run the shard again")
    return part


def _used(shards: Sequence[tuple[Path, Mapping[str, Any]]]) -> Iterator[Path]:
    for path, manifest in shards:
        yield path.resolve()
        yield from ((path.parent / entry["path"]).resolve() for entry in manifest["outputs"].values())
        yield from input_files(manifest)


def _warnings(shards: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[str]:
    """What every shard was told, and what the counts of all together give cause to say."""
    first = shards[0]
    of_the_shard = metric_warnings(first["metrics"], first["model"])
    common = [w for w in first["warnings"] if all(w in shard["warnings"] for shard in shards)]
    return [w for w in common if w not in of_the_shard] + metric_warnings(metrics, first["model"])


def _join(parts: Sequence[Path], target: Path) -> None:
    with atomic_write(target, "wb") as file:
        for part in parts:
            file.write(part.read_bytes())


def _metrics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = {**parts[0], **{name: sum(part[name] for part in parts) for name in _SUMMED}}
    for name in ("removed_by", "removed_by_test_set"):
        total[name] = dict(sorted(sum((Counter(part[name]) for part in parts), Counter()).items()))
    n_usable = total["n_kept"] + total["n_removed"]
    total["removed_share"] = round(total["n_removed"] / n_usable, 6) if n_usable else 0.0
    return total
