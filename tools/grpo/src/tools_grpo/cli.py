"""The command line of tools-grpo."""

from __future__ import annotations

import click

from tools_grpo import __version__
from tools_grpo.config import GrpoConfig
from tools_shared.cli import ToolCommand, config_options, resolve, show_run


@click.command(cls=ToolCommand)
@config_options(GrpoConfig)
@click.version_option(__version__, prog_name="tools-grpo")
def main(as_json: bool, **options) -> None:
    """Train with GRPO from verifiable rewards.

    \b
    tools-grpo --base-model artifacts/prep_sft --output-dir artifacts/grpo
    tools-grpo --base-model artifacts/prep_sft --reward gsm8k-tiered --num-generations 16
    docker run tools-grpo --base-model /artifacts/prep_sft
    """
    from tools_grpo.train import train

    config, invocation = resolve(GrpoConfig, options, __version__)
    show_run(train(config, invocation), as_json)
