"""The command line of tools-scorer."""

from __future__ import annotations

import click

from tools_scorer import __version__
from tools_scorer.config import PreprocessConfig
from tools_shared.cli import ToolCommand, ToolGroup, config_options, resolve, show_run


class EitherSpelling(ToolCommand):
    """Takes `--input_file` for `--input-file`: the pipelines that users come from spell flags with underscores."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_dashed(arg) for arg in args])


def _dashed(arg: str) -> str:
    if not arg.startswith("--"):
        return arg
    name, equals, value = arg.partition("=")
    return name.replace("_", "-") + equals + value


class ScorerGroup(ToolGroup):
    command_class = EitherSpelling


@click.group(cls=ScorerGroup)
@click.version_option(__version__, prog_name="tools-scorer")
def main() -> None:
    """Learn from hidden states how likely a trace is to be right."""


@main.command("preprocess")
@config_options(PreprocessConfig)
def preprocess_command(as_json: bool, **options) -> None:
    """Take attempts apart: what the model reads, where its steps end, and whether it was right.

    \b
    tools-scorer preprocess --input_file traces.jsonl --output_file artifacts/scorer_data --tokenizer_path MODEL
    tools-scorer preprocess --input-file artifacts/traces/traces.graded.jsonl --delimiter '\\n' --output-dir DIR
    """
    from tools_scorer.preprocess import preprocess

    config, invocation = resolve(PreprocessConfig, options, __version__)
    show_run(preprocess(config, invocation), as_json)
