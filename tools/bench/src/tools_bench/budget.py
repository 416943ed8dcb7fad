"""`tools-bench budget`: accuracy against the number of training rows, for ways of training and seeds of each."""

from __future__ import annotations

from pathlib import Path

from tools_bench.budgets.chart import draw
from tools_bench.budgets.points import Trained, by_budget, interval_json
from tools_bench.budgets.table import as_csv, as_markdown, as_text
from tools_bench.comparison.evaluations import read_scored
from tools_bench.config import BudgetConfig
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, write_json
from tools_shared.runs import default_output_dir, draft, finished, read_manifest
from tools_shared.runs.read import Manifest


def run_budget(config: BudgetConfig, invocation: Invocation) -> Manifest:
    """Read the runs and publish table (CSV, Markdown, text), figure and JSON as a run; returns its manifest."""
    output_dir = Path(config.output_dir or default_output_dir("budget"))
    if done := finished(output_dir, config):
        say((output_dir / "budget.txt").read_text(encoding="utf-8"))
        return done
    trained = [read_trained(path) for path in config.runs]
    start = read_scored(config.start) if config.start else None
    budgets = by_budget(trained, start, config.confidence)
    with draft(output_dir, config, invocation, "budget") as run:
        for one in [*(t.scored for t in trained), *([start] if start else [])]:
            run.add_input(str(one.path.parent.parent), str(one.path), sha256_file(one.path), run_sha256=one.run_sha256)
        write_json(run.path / "budget.json", budgets.to_json())
        for name, text in (("csv", as_csv(budgets)), ("md", as_markdown(budgets)), ("txt", as_text(budgets))):
            (run.path / f"budget.{name}").write_text(text, encoding="utf-8")
        draw(budgets, run.path / "budget.png", config.title)
        metrics = {f"accuracy_{p.way}_{p.asked}": interval_json(p.rates["accuracy"]) for p in budgets.points}
        manifest = run.finish(metrics)
    say(as_text(budgets))
    say(f"chart: {output_dir / 'budget.png'}")
    return manifest


def read_trained(given: str) -> Trained:
    """A run that trained and evaluated a model; raises ToolError for one that did not do both."""
    manifest = read_manifest(given)
    rows = manifest.metrics.get("n_train")
    if rows is None:
        raise ToolError(f"{given}: this {manifest.kind} run trained no model; name runs of tools-sft and tools-grpo")
    asked = manifest.options.get("train_samples") or rows
    return Trained(manifest.kind, asked, rows, manifest.data["seed"], read_scored(given))
