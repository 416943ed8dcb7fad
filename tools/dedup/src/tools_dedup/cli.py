"""The command line of tools-dedup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from tools_dedup import __version__
from tools_dedup.config import DedupConfig
from tools_shared.cli import ToolGroup, config_options, resolve


class DefaultGroup(ToolGroup):
    """A group whose first command may be left out: `tools-dedup --train-path ...` is `tools-dedup run ...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("--help", "--version"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup)
@click.version_option(__version__, prog_name="tools-dedup")
def main() -> None:
    """Remove training rows that repeat a test question, with evidence for every row."""


@main.command("run")
@config_options(DedupConfig)
def run_command(as_json: bool, **options) -> None:
    """Clean a training set against one or many test sets.

    \b
    tools-dedup --train-path train.jsonl --test-path test.jsonl --output-path clean.jsonl
    tools-dedup run --train-path 'hf://owner/train?split=train' --test-path bench=test.csv --output-path clean.jsonl
    tools-dedup run --train-path train.jsonl --test-path test.jsonl --output-path clean.jsonl --model ./MiniLM --within
    """
    from tools_dedup.run import run

    config, invocation = resolve(DedupConfig, options, __version__)
    _show(run(config, invocation), as_json)


def _show(manifest: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({k: manifest[k] for k in ("metrics", "outputs", "warnings") if k in manifest}))
        return
    metrics = manifest["metrics"]
    why = ", ".join(f"{n} {rule}" for rule, n in metrics["removed_by"].items())
    counts = [f"{metrics['n_kept']} kept", f"{metrics['n_removed']} removed{f' ({why})' if why else ''}"]
    counts.append(f"{metrics['n_rejected']} rejected")
    if metrics["n_not_sampled"]:
        counts.append(f"{metrics['n_not_sampled']} not sampled")
    click.echo(f"{metrics['n_rows']} rows: {', '.join(counts)}")
    for rule in manifest.get("rules", ()):
        click.echo(f"rule: {rule['method']}, a row goes at {rule['score']} >= {rule['threshold']:.4g}")
    for name, output in manifest.get("outputs", {}).items():
        click.echo(f"{name + ':':10}{output['path']}")
