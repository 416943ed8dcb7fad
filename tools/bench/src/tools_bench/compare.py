"""`tools-bench compare`: evaluations as a table and a chart, benchmark runs as verdicts; and `run --compare`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tools_bench.comparison.chart import draw
from tools_bench.comparison.evaluations import Line, compare, read_scored
from tools_bench.comparison.files import FILES, describe, write_comparisons
from tools_bench.comparison.from_evaluation import read_evaluation
from tools_bench.comparison.lineage_cost import cost_behind
from tools_bench.comparison.regressions import BenchComparison, compare_all, count_verdicts, settle
from tools_bench.comparison.stored_runs import Side, is_benchmark, read_side
from tools_bench.comparison.tables import as_markdown, as_text
from tools_bench.config import CompareConfig, VerdictConfig
from tools_shared.cli import Invocation
from tools_shared.config import digest, flag_of
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, write_json
from tools_shared.files.outputs import output_files
from tools_shared.runs import default_output_dir, draft, finished, read_manifest
from tools_shared.runs.read import MANIFEST, Manifest

LONGEST_NAME = 80
"""Most characters of the runs' names in the name of a comparison's folder."""


def run_comparison(config: CompareConfig, invocation: Invocation) -> Manifest:
    """Compare and publish table, chart and JSON as a run; returns its manifest."""
    output_dir = Path(config.output_dir) if config.output_dir else _default_dir(config)
    if config.output_dir is None and _is_comparison(output_dir):
        config = replace(config, overwrite=True)  # it follows from the runs, which may have been made again
    if any(is_benchmark(path) for path in config.runs):
        _refuse(config, ("confidence",), "benchmark runs, whose intervals follow --alpha")
        return _compare_benchmarks(output_dir, config, invocation)
    _refuse(config, ("fail_on", "alpha", "margin", "allow_mismatch"), "evaluations; it judges runs of tools-bench run")
    if done := finished(output_dir, config):
        say((output_dir / "comparison.txt").read_text(encoding="utf-8"))
        return done
    scored = [read_scored(path) for path in config.runs]
    comparison = compare(scored, config.baseline, config.confidence)
    costs, together = _costs(config.runs)
    table = (comparison, costs, together)
    with draft(output_dir, config, invocation, "compare") as run:
        for one in scored:
            run.add_input(one.name, str(one.path), sha256_file(one.path), run_sha256=one.run_sha256)
        write_json(run.path / "comparison.json", comparison.to_json())
        (run.path / "comparison.md").write_text(as_markdown(*table), encoding="utf-8")
        (run.path / "comparison.txt").write_text(as_text(*table), encoding="utf-8")
        draw(comparison, run.path / "comparison.png", config.title)
        manifest = run.finish({f"accuracy_{line.name}": _rate(line) for line in comparison.lines})
    say(as_text(*table))
    say(f"chart: {output_dir / 'comparison.png'}")
    return manifest


def _costs(runs: Sequence[str]) -> tuple[dict[str, str], str]:
    """What each run directory cost with its ancestors, by name, and a line about all of them together."""
    folders = [Path(run) for run in runs if (Path(run) / MANIFEST).is_file()]
    costs = {folder.resolve().name: str(cost_behind([folder])) for folder in folders}
    return costs, f"cost of all runs together, each ancestor once: {cost_behind(folders)}"


def _default_dir(config: CompareConfig) -> Path:
    """Beside what is compared, with the names of the runs: one folder for each set of runs and options."""
    places = {Path(run).resolve().parent for run in config.runs}
    beside = places.pop() if len(places) == 1 else default_output_dir("")
    names = "-".join(Path(run).stem for run in config.runs)[:LONGEST_NAME]
    first = beside / f"compare-{re.sub(r'[^A-Za-z0-9._+-]', '_', names)}"
    if not first.exists() or (_is_comparison(first) and _same(first, config)):
        return first
    return first.with_name(f"{first.name}-{digest(config.identity())[:8]}")


def _same(folder: Path, config: CompareConfig) -> bool:
    return config.renamed(read_manifest(folder).identity) == config.identity()


def _is_comparison(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and read_manifest(folder).kind in ("compare", "bench-compare")


def _refuse(config: CompareConfig, names: Sequence[str], what: str) -> None:
    """Raise ToolError for an option that would change nothing in a comparison of this kind."""
    for field in (field for field in fields(config) if field.name in names):
        if getattr(config, field.name) != field.default:
            raise ToolError(f"{flag_of(field.name)} says nothing of {what}; leave it out")


def _compare_benchmarks(output_dir: Path, config: CompareConfig, invocation: Invocation) -> Manifest:
    """Benchmark runs against one of them: the verdicts are published first, then a failed gate raises RegressionError.

    Judged again even where the comparison exists already: the gate is asked again, and it costs nothing.
    """
    baseline, *others = _baseline_first(config.runs, config.baseline)
    comparisons = compare_all(baseline, others, config)
    manifest = finished(output_dir, config) or _publish_verdicts(output_dir, config, invocation, comparisons)
    say(describe(comparisons))
    settle(comparisons)
    return manifest


def _baseline_first(given: Sequence[str], wanted: str | None) -> list[Side]:
    """The runs, the baseline first; raises ToolError for fewer than two, or a baseline that is not among them."""
    if len(given) < 2:
        raise ToolError(f"a comparison needs at least two runs, got {len(given)}")
    sides = _read_sides(given)
    if wanted is None:
        return sides
    name = Path(wanted).name
    places = [i for i, path in enumerate(given) if name in (Path(path).name, sides[i].name)]
    if not places:
        raise ToolError(f"--baseline {wanted}: not among the runs ({', '.join(Path(path).name for path in given)})")
    return [sides[places[0]], *(side for i, side in enumerate(sides) if i != places[0])]


def _read_sides(given: Sequence[str]) -> list[Side]:
    """Benchmark runs, and evaluations on the items of the first of them that has stored replies."""
    runs = {path: read_side(path) for path in given if is_benchmark(path)}
    like = next((side for side in runs.values() if side.graded is not None), None)
    if like is None and len(runs) < len(given):
        raise ToolError("an evaluation is compared with the stored replies of a benchmark run, and there are none")
    return [runs[path] if path in runs else read_evaluation(path, like) for path in given]


def _publish_verdicts(
    output_dir: Path, config: CompareConfig, invocation: Invocation, comparisons: Sequence[BenchComparison]
) -> Manifest:
    with draft(output_dir, config, invocation, "bench-compare") as run:
        named = [("current" if len(comparisons) == 1 else c.current.name, c.current) for c in comparisons]
        for name, side in [("baseline", comparisons[0].baseline), *named]:
            folder = side.path.parent.parent if side.path.parent.name == "debug" else side.path
            manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
            file = side.path / "benchmark_results.json" if side.path.is_dir() else side.path
            run.add_input(name, str(side.path), sha256_file(file), run_sha256=manifest and manifest.sha256)
        write_comparisons({name: run.path / name for name in FILES}, comparisons, config.title)
        return run.finish(count_verdicts(comparisons))


def compare_with(baseline: Side, folder: Path, config: VerdictConfig) -> None:
    """`run --compare`: compare a finished run with a baseline and write the result beside it; see `settle`."""
    comparisons = compare_all(baseline, [read_side(folder)], config)
    paths = {name: folder / name for name in FILES}
    with output_files("tools-bench run --compare", paths, flag="--output-dir", run=folder) as files:
        write_comparisons(files, comparisons)
    say(describe(comparisons))
    settle(comparisons)


def _rate(line: Line) -> dict[str, Any]:
    rate = line.rates["accuracy"]
    return {"estimate": rate.estimate, "low": rate.low, "high": rate.high, "n": rate.n}
