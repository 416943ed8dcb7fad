"""Where a run writes: every file has its own place, and none is an input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from tools_dedup.config import DedupConfig
from tools_shared.errors import ToolError
from tools_shared.files.outputs import check_places, output_files
from tools_shared.sources import files_among

TOOL = "tools-dedup"


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
    check_places(vars(paths), "--output-path")
    return paths


@contextmanager
def opened_outputs(
    paths: OutputPaths, overwrite: bool, inputs: Iterable[Path] = (), replaces: Path | None = None
) -> Iterator[OutputPaths]:
    """Where to write each file, until all are published as one set."""
    with output_files(
        TOOL, vars(paths), flag="--output-path", inputs=inputs, overwrite=overwrite, record="manifest",
        replaces=replaces,
    ) as files:  # fmt: skip
        yield OutputPaths(**files)


@contextmanager
def opened_embeddings(overwrite: bool, save_embeddings: str | None) -> Iterator[Path]:
    """Where to write the file of --save-embeddings, until it is published."""
    flag = "--save-embeddings"
    paths = {"embeddings": Path(str(save_embeddings))}
    with output_files(f"{TOOL} {flag}", paths, flag=flag, overwrite=overwrite) as files:
        yield files["embeddings"]


def check_inputs(config: DedupConfig, paths: OutputPaths) -> None:
    """Raises ToolError when an output is an input, but for the training file with --in-place."""
    from tools_dedup.input.rows import named_source

    test_specs = [named_source(given)[1] for given in config.test_data]
    if [*config.data, *test_specs].count("-") > 1:
        raise ToolError("standard input ('-') can be read for one set only; give the others as files")
    train = set(files_among(*config.data))
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
    if config.save_embeddings and not config.dry_run:
        with opened_embeddings(config.overwrite, config.save_embeddings):
            pass  # what is in its way is said before anything is encoded
