"""Where a run writes: every file has its own place, and none is an input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from tools_dedup.config import DedupConfig
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class OutputPaths:
    """The files of a run. `clusters` is written with --within, `review` with --review."""

    kept: Path
    removed: Path
    matches: Path
    rejected: Path
    chart: Path
    report: Path
    manifest: Path
    clusters: Path
    review: Path


def output_paths(output: str, removed: str | None, matches: str | None) -> OutputPaths:
    """The given paths, and names made from the output's for the others.

    Raises ToolError when two of them are one file.
    """
    kept = Path(output)
    if not kept.name:
        raise ToolError("--output-path is empty; name the file for the rows that stay")
    stem = kept.with_suffix("")

    def beside(ending: str) -> Path:
        return stem.with_name(stem.name + ending)

    matches_path = Path(matches) if matches else beside(".matches.jsonl")
    chart_stem = matches_path.with_suffix("") if matches_path.suffix in (".jsonl", ".json") else matches_path
    paths = OutputPaths(
        kept=kept,
        removed=Path(removed) if removed else beside(".removed.jsonl"),
        matches=matches_path,
        rejected=beside(".rejected.jsonl"),
        chart=chart_stem.with_name(chart_stem.name + "_distribution.png"),
        report=beside(".report.html"),
        manifest=beside(".run.json"),
        clusters=beside(".clusters.jsonl"),
        review=beside(".review.jsonl"),
    )
    _refuse_collisions(paths)
    return paths


def _refuse_collisions(paths: OutputPaths) -> None:
    seen: dict[Path, str] = {}
    for field in fields(paths):
        path = getattr(paths, field.name)
        if other := seen.get(path.resolve()):
            raise ToolError(f"{path}: would be written twice, as {other} and as {field.name}; give one another path")
        seen[path.resolve()] = field.name
        if path.is_dir():
            raise ToolError(f"{path}: is a folder; name a file")


def refuse_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises ToolError when an output is an input; `inputs` are resolved."""
    used = set(inputs)
    for path in outputs:
        if path.resolve() in used:
            raise ToolError(f"{path}: is an input too; give --output-path another name")


def check_inputs(config: DedupConfig, paths: OutputPaths) -> None:
    """Raises ToolError when an output is an input, but for the training file with --in-place."""
    from tools_dedup.rows import named_source

    test_specs = [named_source(given)[1] for given in config.test_path]
    if [config.train_path, *test_specs].count("-") > 1:
        raise ToolError("standard input ('-') can be read for one set only; give the others as files")
    train = set(files_among(config.train_path))
    others = set(files_among(*test_specs))
    others |= {Path(p).resolve() for p in (config.verdicts, config.calibration, config.load_embeddings) if p}
    outputs = [getattr(paths, field.name) for field in fields(paths)]
    if config.save_embeddings:
        outputs.append(Path(config.save_embeddings))
    for path in outputs:
        if path.resolve() in others:
            raise ToolError(f"{path}: is an input too; give the output another path")
        if path.resolve() not in train:
            continue
        if path != paths.kept or not config.in_place:
            raise ToolError(f"{path}: is the training file too; give another path, or --in-place to replace it")
        if len(train) > 1 or path.suffix not in (".jsonl", ".ndjson"):
            raise ToolError(f"{path}: --in-place replaces one file of JSON lines; write to another path")
    if config.save_embeddings and Path(config.save_embeddings).resolve() in {p.resolve() for p in outputs[:-1]}:
        raise ToolError(f"--save-embeddings {config.save_embeddings}: is another output too; give another path")


def files_among(*specs: str | None) -> Iterable[Path]:
    """The files among some addresses, resolved."""
    import glob

    for spec in specs:
        if spec and "://" not in spec and spec != "-":
            path = Path(spec).expanduser()
            found = [path] if path.exists() else glob.glob(str(path), recursive=True)  # noqa: PTH207 - may be absolute
            yield from (Path(p).resolve() for p in found)
