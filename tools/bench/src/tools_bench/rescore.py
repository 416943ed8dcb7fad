"""`tools-bench rescore`: stored responses graded again with today's grader, as a run of its own."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import ITEMS, Side, read_side
from tools_bench.config import RescoreConfig
from tools_bench.grading.contamination import without
from tools_bench.grading.grade import grader_sha256
from tools_bench.grading.judge import FILE as JUDGEMENTS
from tools_bench.grading.results import headline_metrics, summarize
from tools_bench.requests.journal import FILE as RESPONSES
from tools_bench.run import write_outputs
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.runs import draft, finished, read_manifest
from tools_shared.runs.read import Manifest


def run_rescore(config: RescoreConfig, invocation: Invocation) -> Manifest:
    """Grade a run again into `RUN-rescored` (or --output-dir) and say what changed; nothing is asked.

    Raises ToolError for a run without stored responses.
    """
    source = read_manifest(config.run)
    side = read_side(config.run)
    if side.graded is None:
        raise ToolError(f"{config.run}: has no stored responses ({ITEMS}, {RESPONSES}); run the benchmark again")
    output_dir = Path(config.output_dir or f"{config.run.rstrip('/')}-rescored")
    if done := finished(output_dir, config):
        return done
    today = {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "grader": grader_sha256(),
        "rescored_from": source.sha256,
    }
    results = {**side.results, **today, **summarize(side.graded, side.tells_format), **_again(side)}
    with draft(output_dir, config, invocation, "bench") as run:
        run.add_input("run", config.run, sha256_file(source.path / RESPONSES), run_sha256=source.sha256)
        for name in (n for n in (ITEMS, RESPONSES, JUDGEMENTS) if (source.path / n).exists()):
            shutil.copyfile(source.path / name, run.path / name)
        write_outputs(run.path, run.debug_path(".csv"), results, side.graded)
        say("\n".join(changes(side, results)) or "no metric has changed")
        return run.finish(headline_metrics(results), seed=source.data["seed"], profile=source.data["profile"])


def _again(side: Side) -> dict[str, Any]:
    """The other results that follow from the grades: those over the clean subset, and a judge's agreement."""
    found: dict[str, Any] = {}
    if clean := side.results.get("clean_subset"):
        if "contaminated" not in clean:
            raise ToolError(
                f"{side.path}: does not say which items its training data contains; run the benchmark again"
            )
        found["clean_subset"] = {**clean, **without(side.graded or [], clean["contaminated"], side.tells_format)}
    if judge := side.results.get("judge"):
        found["judge"] = {**judge, **side.judged}
    return found


def changes(before: Side, after: dict) -> list[str]:
    """A line for each metric that has another value now."""
    lines = []
    for kind, evaluation in after["evaluations"].items():
        old = before.results["evaluations"].get(kind, {}).get("intervals", {})
        for name, entry in evaluation["intervals"].items():
            was = old.get(name, {}).get("estimate")
            if was != entry["estimate"]:
                then = "absent" if was is None else f"{100 * was:.1f} %"
                lines.append(f"{name}: {then} then, {100 * entry['estimate']:.1f} % now")
    return lines
