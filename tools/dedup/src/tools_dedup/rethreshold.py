"""`tools-dedup rethreshold`: another threshold from the matches of a run; nothing is encoded or compared again.

Equal and contained texts and a person's verdicts stay as they were decided; only the rule with a score is asked again.
After --within or --guard the rows are read and compared again (vectors come from the cache): which row repeats another
depends on which rows stay, and what the guard keeps on what would go without it. Either way the files are those of a
run with that threshold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from tools_dedup.config import DedupConfig
from tools_dedup.decision.outcome import DedupOutcome, in_band
from tools_dedup.input.contents import STEPS
from tools_dedup.input.rows import as_line, open_sources
from tools_dedup.lexical.words import shared_numbers, shared_spans
from tools_dedup.output.manifest import (
    check_sum,
    input_files,
    metric_warnings,
    read_manifest,
    say_warnings,
    write_manifest,
)
from tools_dedup.output.paths import OutputPaths, opened_outputs, output_paths
from tools_dedup.output.report import Digest
from tools_dedup.output.shaping import shaped
from tools_dedup.run import Tally, inputs_of, read_and_decide, write_all
from tools_shared.cli import Invocation
from tools_shared.config import option
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file
from tools_shared.files.outputs import OverwriteConfig
from tools_shared.records import Row
from tools_shared.sources import procedure_text

SCORED = ("semantic", "lexical")


@dataclass(frozen=True)
class RethresholdConfig(OverwriteConfig):
    """The run whose matches are taken, and the threshold that they are asked with."""

    TOOL: ClassVar[str] = "dedup_rethreshold"

    run_path: str | None = option(None, "OUTPUT.run.json of the run.")
    threshold: float | None = option(None, "Remove rows with at least this score.", minimum=-1, maximum=1)
    output_path: str | None = option(None, "Kept rows, as JSON lines.", identity=False)
    removed_path: str | None = option(None, "Removed rows. Default: OUTPUT.removed.jsonl.", identity=False)
    matches_path: str | None = option(
        None, "Matches with the new decisions. Default: OUTPUT.matches.jsonl.", identity=False
    )


def rethreshold(config: RethresholdConfig, invocation: Invocation) -> dict[str, Any]:
    """Write the run's files again for another threshold; returns the manifest."""
    started = datetime.now(UTC)
    for name in ("run_path", "threshold", "output_path"):
        if getattr(config, name) is None:
            raise ToolError(f"--{name.replace('_', '-')} is needed")
    before = read_manifest(Path(config.run_path))
    given = _options(before, config.run_path)
    rules = _rules(before, config.run_path, config.threshold)
    paths = output_paths(config.output_path, config.removed_path, config.matches_path)
    stored = _stored(config.run_path, before, "matches")
    inputs = [*before["inputs"], {"name": "matches", "path": str(stored), "sha256": sha256_file(stored)}]
    with opened_outputs(paths, config.overwrite, _used(before, config.run_path)) as drafts:
        if given.within or given.guard:
            written, metrics, about = _again(before, given, config.run_path, config.threshold, drafts, paths.kept.name)
            return write_manifest(paths, drafts, config, invocation, inputs, written, metrics, started, **about)
        digest, counts = Digest(given.review_band), Tally()
        written = _write(given, stored, config.threshold, drafts, digest, counts)
        _copy(_stored(config.run_path, before, "rejected"), drafts.rejected)
        metrics = {**before["metrics"], **counts.counted(), "n_encoded": 0}
        check_sum(metrics)
        warnings = say_warnings(_warnings(before, metrics))
        written += ["rejected", *digest.write(drafts, paths.kept.name, rules, metrics, warnings)]
        about = {"rules": rules, "model": before["model"], "warnings": warnings}
        return write_manifest(paths, drafts, config, invocation, inputs, written, metrics, started, **about)


def _warnings(before: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """Those of the run, with what its counts gave cause to say replaced by what these do."""
    old = metric_warnings(before["metrics"], before["model"])
    return [*(w for w in before["warnings"] if w not in old), *metric_warnings(metrics, before["model"])]


def _again(
    before: Mapping[str, Any],
    given: DedupConfig,
    run_path: str | None,
    threshold: float | None,
    drafts: OutputPaths,
    title: str,
) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """The whole decision with the other threshold: what repeats a row depends on which rows stay."""
    analysis = read_and_decide(replace(given, save_embeddings=None, dry_run=False), threshold)
    if [entry["sha256"] for entry in inputs_of(analysis)] != [entry["sha256"] for entry in before["inputs"]]:
        raise ToolError(f"{run_path}: its training or test rows have changed since; run tools-dedup again")
    return write_all(analysis, drafts, title)


def _options(before: Mapping[str, Any], run_path: str | None) -> DedupConfig:
    if first := before["options"].get("run_path"):
        raise ToolError(f"{run_path}: was made by rethreshold itself; give --run-path {first['value']}")
    stored = {n: _plain(entry["value"]) for n, entry in before["options"].items()}
    given = DedupConfig(**DedupConfig.renamed(stored))
    if "-" in given.data:
        raise ToolError(f"{run_path}: its rows came from standard input and are gone; run tools-dedup again")
    return given


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rules(before: Mapping[str, Any], run_path: str | None, threshold: float | None) -> list[dict[str, Any]]:
    if len(before["rules"]) != 1:
        raise ToolError(
            f"{run_path}: {len(before['rules'])} rules with a score decided here, and one threshold cannot "
            "stand for them; run again with --threshold and one --method, the vectors are cached"
        )
    return [{**before["rules"][0], "threshold": threshold}]


def _stored(run_path: str | None, before: Mapping[str, Any], name: str) -> Path:
    """A file of the run. Raises ToolError when it is not the one that the run wrote."""
    entry = before["outputs"][name]
    path = Path(run_path).parent / entry["path"]
    if not path.exists() or sha256_file(path) != entry["sha256"]:
        raise ToolError(f"{path}: is missing or not as the run wrote it; run tools-dedup again")
    return path


def _used(before: Mapping[str, Any], run_path: str | None) -> Iterator[Path]:
    folder = Path(run_path).parent
    yield Path(run_path).resolve()
    yield from input_files(before)
    yield from ((folder / before["outputs"][name]["path"]).resolve() for name in ("matches", "rejected"))


def _write(
    given: DedupConfig, stored: Path, threshold: float, paths: OutputPaths, digest: Digest, counts: Tally
) -> list[str]:
    with ExitStack() as stack:
        lines = stack.enter_context(stored.open(encoding="utf-8"))
        kept, removed, matches = (
            stack.enter_context(atomic_write(path)) for path in (paths.kept, paths.removed, paths.matches)
        )
        review = stack.enter_context(atomic_write(paths.review)) if given.review else None
        for row, match, line in _rows_of(given.data, given.train_steps_key, lines):
            if decide(match, threshold, given.review_band):
                line = json.dumps(match, ensure_ascii=False) + "\n"
            digest.add(match)
            goes = match["removed_by"] is not None
            counts.add(DedupOutcome(row, goes, match))
            (removed if goes else kept).write(as_line(row.data if goes else shaped(row.data, given.output_format)))
            matches.write(line)
            if review and in_band(given.review_band, match["score"]):
                review.write(line)
    return ["kept", "removed", "matches", *(["review"] if given.review else [])]


def _rows_of(
    data: tuple[str, ...], train_steps_key: str | None, lines: Iterable[str]
) -> Iterator[tuple[Row, dict[str, Any], str]]:
    """Each match with the row that it is about, found by its place, and the line that it stood in."""
    changed = ToolError(f"{data}: has changed since the run; run tools-dedup again")
    rows = iter(open_sources(data, train_steps_key or STEPS).rows())
    for line in lines:
        match = json.loads(line)
        place = (match["train_path"], match["train_line"])
        found = next((r for r in rows if isinstance(r, Row) and (r.origin.path, r.origin.line) == place), None)
        if found is None:
            raise changed
        yield found, match, line


def decide(match: dict[str, Any], threshold: float, review_band: tuple[float, float] | None) -> bool:
    """Change a match's `removed_by` to what the threshold says, and its evidence to what a run with the options `given`
    would write; tells whether anything has changed."""
    before = match["removed_by"]
    if before not in (None, *SCORED) or match["verdict"] == "keep" or match["rule"] not in SCORED:
        return False
    match["removed_by"] = match["rule"] if match["score"] >= threshold else None
    if match["removed_by"] and "shared_spans" not in match:
        texts = (
            procedure_text(match["train_goal"], match["train_steps"]),
            procedure_text(match["nearest_test_goal"], match["nearest_test_steps"]),
        )
        match |= {"shared_spans": shared_spans(*texts), "shared_numbers": shared_numbers(*texts)}
    elif not match["removed_by"] and not in_band(review_band, match["score"]):
        for name in ("shared_spans", "shared_numbers"):
            match.pop(name, None)
    return match["removed_by"] != before


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target, "wb") as file:
        file.write(source.read_bytes())
