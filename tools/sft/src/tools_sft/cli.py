"""The command line of tools-sft."""

from __future__ import annotations

import click

from tools_sft import __version__
from tools_sft.config import SftConfig, SftExportConfig
from tools_shared.cli import DefaultGroup, config_options, resolve, show_run
from tools_shared.console import show
from tools_shared.processes.launch import launched
from tools_shared.training.trainable import settled


@click.group(cls=DefaultGroup, default="train")
@click.version_option(__version__, prog_name="tools-sft")
def main() -> None:
    """Supervised fine-tuning, and exports of what was trained."""


@main.command("train")
@config_options(SftConfig)
def train_command(as_json: bool, **options) -> None:
    """Supervised fine-tuning: teach the answer format (--stage prep), then the task (--stage full).

    \b
    tools-sft --stage prep --output-dir artifacts/prep_sft
    tools-sft --stage full --base-model artifacts/prep_sft --output-dir artifacts/full_sft
    tools-sft --config configs/sft.yaml
    """
    from tools_sft.remote.train import train_remotely
    from tools_sft.reports.preview import dry_run
    from tools_sft.train import train

    config, invocation = resolve(SftConfig, options, __version__)
    if config.backend == "local":
        config = settled(config, config.base_model, invocation.origins)
    if config.dry_run:
        show(dry_run(config))
        return
    if config.backend == "tinker":
        show_run(train_remotely(config, invocation), as_json)
    elif not launched("sft", config.processes):
        show_run(train(config, invocation), as_json)


@main.command("export")
@click.argument("run")
@config_options(SftExportConfig, leave_out=("run",))
def export_command(as_json: bool, **options) -> None:
    """Export RUN for other programs: merged weights, GGUF, Ollama, or a folder for a hub; each compared with the run.

    \b
    tools-sft export artifacts/full_sft --to gguf --gguf-format q8_0
    tools-sft export artifacts/full_sft --to hub --push OWNER/NAME
    """
    from tools_shared.export.run import export

    config, invocation = resolve(SftExportConfig, options, __version__)
    show_run(export(config, invocation), as_json)
