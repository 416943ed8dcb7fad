"""The command line of tools-grpo."""

from __future__ import annotations

from pathlib import Path

import click

from tools_grpo import __version__
from tools_grpo.config import GrpoConfig, GrpoExportConfig
from tools_shared.cli import DefaultGroup, config_options, resolve, show_run
from tools_shared.console import show
from tools_shared.files.outputs import OVERWRITE
from tools_shared.processes.launch import launched
from tools_shared.training.trainable import settled


@click.group(cls=DefaultGroup, default="train")
@click.version_option(__version__, prog_name="tools-grpo")
def main() -> None:
    """Train with GRPO from verifiable rewards."""


@main.command("train")
@config_options(GrpoConfig)
def train_command(as_json: bool, **options) -> None:
    """Train with GRPO from verifiable rewards.

    \b
    tools-grpo --base-model artifacts/prep_sft --output-dir artifacts/grpo
    tools-grpo --base-model artifacts/prep_sft --reward gsm8k-tiered --num-generations 16
    """
    from tools_grpo.remote.train import train_remotely
    from tools_grpo.reports.preview import dry_run
    from tools_grpo.train import train

    config, invocation = resolve(GrpoConfig, options, __version__)
    if config.backend == "local":
        config = settled(config, config.base_model, invocation.origins)
    if config.dry_run:
        show(dry_run(config))
        return
    if config.backend == "tinker":
        show_run(train_remotely(config, invocation), as_json)
    elif not launched("grpo", config.processes):
        show_run(train(config, invocation), as_json)


@main.command("inspect")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--shown", default=3, show_default=True, type=click.IntRange(1), help="Rollouts in each list.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write it as one HTML file, with curves.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE)
def inspect_command(run: Path, shown: int, html: Path | None, overwrite: bool) -> None:
    """Show a run's best, worst and most surprising rollouts, and the course of reward and length.

    \b
    tools-grpo inspect artifacts/grpo
    tools-grpo inspect artifacts/grpo --html grpo.html
    """
    from tools_grpo.inspect import inspect
    from tools_grpo.reports.html import as_html
    from tools_grpo.reports.text import as_text
    from tools_shared.files.outputs import output_files

    found = inspect(run, shown)
    show(as_text(found))
    if html is not None:
        with output_files("tools-grpo inspect", {"page": html}, flag="--html", overwrite=overwrite) as files:
            files["page"].write_text(as_html(found), encoding="utf-8")


@main.command("export")
@click.argument("run")
@config_options(GrpoExportConfig, leave_out=("run",))
def export_command(as_json: bool, **options) -> None:
    """Export RUN for other programs: merged weights, GGUF, Ollama, or a folder for a hub; each compared with the run.

    \b
    tools-grpo export artifacts/grpo --to gguf --gguf-format q8_0
    tools-grpo export artifacts/grpo --to hub --push OWNER/NAME
    """
    from tools_shared.export.run import export

    config, invocation = resolve(GrpoExportConfig, options, __version__)
    show_run(export(config, invocation), as_json)
