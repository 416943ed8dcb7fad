"""The command line of tools-dedup."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tools_dedup import __version__
from tools_dedup.calibrate import CalibrateConfig
from tools_dedup.config import DedupConfig
from tools_dedup.rethreshold import RethresholdConfig
from tools_shared.cli import DefaultGroup, Invocation, config_options, resolve
from tools_shared.console import show, show_json
from tools_shared.files.outputs import OVERWRITE
from tools_shared.runs.card import show_metric


class _DataFirst(DefaultGroup):
    """`tools-dedup data.jsonl --within` is `tools-dedup run data.jsonl --within`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and ("." in args[0] or "/" in args[0]):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_DataFirst, default="run")
@click.version_option(__version__, prog_name="tools-dedup")
def main() -> None:
    """Remove training rows that repeat a test question, with evidence for every row."""


@main.command("run")
@click.argument("rows", nargs=-1, metavar="[DATA]...")
@config_options(DedupConfig)
def run_command(rows: tuple[str, ...], as_json: bool, **options) -> None:
    """Clean a training set against one or many test sets; DATA are training rows, as --data.

    \b
    tools-dedup data.jsonl --within
    tools-dedup --data train.jsonl --test-data test.jsonl --output-path clean.jsonl
    tools-dedup run --data 'hf://owner/train?split=train' --test-data bench=test.csv --output-path clean.jsonl
    tools-dedup run --data train.jsonl --test-data test.jsonl --output-path clean.jsonl --model ./MiniLM --within
    """
    from tools_dedup.run import run

    config, invocation = resolve(DedupConfig, _with_data(options, rows), __version__)
    _show(run(config, invocation), as_json)


def _with_data(options: dict[str, Any], data: tuple[str, ...]) -> dict[str, Any]:
    """The options with the rows that were named without a flag, and an output beside the working folder's files."""
    if not data:
        return options
    output = options["output_path"] or f"{Path(data[0].split('?')[0]).name.split('.')[0]}.clean.jsonl"
    return options | {"data": (*(options["data"] or ()), *data), "output_path": output}


def _show(manifest: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        show_json({k: manifest[k] for k in ("metrics", "outputs", "warnings") if k in manifest})
        return
    metrics = manifest["metrics"]
    why = ", ".join(f"{n} {rule}" for rule, n in metrics["removed_by"].items())
    counts = [f"{metrics['n_kept']} kept", f"{metrics['n_removed']} removed{f' ({why})' if why else ''}"]
    counts.append(f"{metrics['n_rejected']} rejected")
    if metrics["n_not_sampled"]:
        counts.append(f"{metrics['n_not_sampled']} not sampled")
    show(f"{metrics['n_rows']} rows: {', '.join(counts)}")
    for rule in manifest.get("rules", ()) if metrics["n_test_rows"] else ():
        show(f"rule: {rule['method']}, a row goes at {rule['score']} >= {rule['threshold']:.4g}")
    for name, output in manifest.get("outputs", {}).items():
        show(f"{name + ':':10}{output['path']}")


@main.command("calibrate")
@config_options(CalibrateConfig)
def calibrate_command(as_json: bool, **options) -> None:
    """Choose a rule on labelled pairs, and measure it on others.

    \b
    tools-dedup calibrate --pairs-path rewordings.jsonl --data train.jsonl --test-data test.jsonl \\
        --text-key question --model ./MiniLM --output-path minilm.json
    """
    from tools_dedup.calibrate import calibrate

    config, _ = resolve(CalibrateConfig, options, __version__)
    content = calibrate(config)
    if as_json:
        show_json(content)
        return
    for name in ("recall", "flagged", "precision_on_pairs"):
        if name in content["measured"]:
            show(f"{name}: {show_metric(content['measured'][name])}")
    show(f"threshold: {content['threshold']}")
    show("flagged  threshold  recall  precision")
    for point in content["curve"]:
        show("{flagged:7.2%}  {threshold:9.4f}  {recall:6.2%}  {precision:9.2%}".format(**point))


@main.command("rethreshold")
@config_options(RethresholdConfig)
def rethreshold_command(as_json: bool, **options) -> None:
    """Decide a run again with another threshold, from its stored matches.

    \b
    tools-dedup rethreshold --run-path clean.run.json --threshold 0.7 --output-path clean-07.jsonl
    """
    from tools_dedup.rethreshold import rethreshold

    config, invocation = resolve(RethresholdConfig, options, __version__)
    _show(rethreshold(config, invocation), as_json)


@main.command("merge")
@click.argument("run_paths", nargs=-1, required=True, metavar="SHARD.run.json...")
@click.option("--output-path", required=True, help="Kept rows of all shards.")
@click.option("--overwrite", is_flag=True, help=OVERWRITE)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def merge_command(run_paths: tuple[str, ...], output_path: str, overwrite: bool, as_json: bool) -> None:
    """Join the shards of a run.

    \b
    tools-dedup merge part0.run.json part1.run.json --output-path clean.jsonl
    """
    from tools_dedup.merge import merge

    invocation = Invocation("tools-dedup", __version__, ("tools-dedup", *sys.argv[1:]))
    _show(merge(run_paths, output_path, invocation, overwrite), as_json)
