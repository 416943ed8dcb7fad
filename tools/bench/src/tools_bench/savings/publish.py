"""`tools-bench savings`: what stopping traces early would have saved, and cost, over samples that were not stopped."""

from __future__ import annotations

from pathlib import Path

from tools_bench.config import SavingsConfig
from tools_bench.savings.curves import draw_curves
from tools_bench.savings.page import page
from tools_bench.savings.samples import read_samples, samples_file
from tools_bench.savings.words import as_text, verdicts
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.files import atomic_write, sha256_file, write_json
from tools_shared.runs import default_output_dir, draft, finished, read_manifest
from tools_shared.runs.read import Manifest


def run_savings(config: SavingsConfig, invocation: Invocation) -> Manifest:
    """Replay the rules and publish table, report and JSON as a run; returns its manifest."""
    output_dir = Path(config.output_dir or default_output_dir("savings"))
    if done := finished(output_dir, config):
        say((output_dir / "savings.txt").read_text(encoding="utf-8"))
        return done
    sampled, source = read_manifest(config.run), samples_file(Path(config.run))
    questions = read_samples(source.parent)
    with draft(output_dir, config, invocation, "savings") as run:
        run.add_input(config.run, str(source), sha256_file(source), run_sha256=sampled.sha256)
        curves = draw_curves(questions, config.seed)
        write_json(run.path / "savings.json", curves.to_json() | {"verdicts": verdicts(curves)})
        for name, text in (("savings.txt", as_text(curves)), ("report.html", page(curves, config.title))):
            with atomic_write(run.path / name) as file:
                file.write(text)
        manifest = run.finish({"majority": curves.to_json()["whole"]}, seed=config.seed)
    say(as_text(curves))
    return manifest
