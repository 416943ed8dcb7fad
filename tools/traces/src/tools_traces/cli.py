"""The command line of tools-traces."""

from __future__ import annotations

import click
from click.core import ParameterSource

from tools_shared.cli import ToolCommand, config_options, resolve, show_run
from tools_traces import __version__
from tools_traces.config import MergeConfig, TracesConfig, VerdictsConfig


class _Sampler(ToolCommand, click.Group):
    """Without the name of a subcommand it samples, as `tools-traces --model RUN` always did."""

    command_class = ToolCommand


@click.group(cls=_Sampler, invoke_without_command=True)
@config_options(TracesConfig)
@click.version_option(__version__, prog_name="tools-traces")
@click.pass_context
def main(ctx: click.Context, as_json: bool, **options) -> None:
    """Sample verified reasoning traces: attempt each question until an answer is right, and keep that response.

    \b
    tools-traces --model artifacts/grpo --output-dir artifacts/traces --output-file grpo_traces_train.jsonl \\
        --dataset-split train --num-samples 2048 --batch-size 32 --max-attempts 5 --temperature 0.8
    tools-sft --stage full --base-model artifacts/prep_sft --traces-file artifacts/traces/grpo_traces_train.jsonl
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    from tools_shared.engines.http.served import with_served
    from tools_traces.sample import sample

    config, invocation = resolve(TracesConfig, options, __version__)
    config = with_served(config)
    manifest = sample(config, invocation)
    if manifest is not None:
        show_run(manifest, as_json)


def _refuse_options(ctx: click.Context) -> None:
    """Refuse options before a subcommand: they are options of sampling, which then does not run."""
    given = (p for p in ctx.command.params if ctx.get_parameter_source(p.name) is ParameterSource.COMMANDLINE)
    if (wrong := next(given, None)) is not None:
        sub = ctx.invoked_subcommand
        raise click.UsageError(f"{wrong.opts[0]} comes before '{sub}'; give the options of {sub} after its name", ctx)


@main.command()
@click.argument("runs", nargs=-1, required=True)
@config_options(MergeConfig, leave_out=("runs",))
def merge(as_json: bool, **options) -> None:
    """Merge the RUNS of all shards into the files that one process would have written.

    \b
    tools-traces --shard 0/2 --output-dir artifacts/traces-0
    tools-traces --shard 1/2 --output-dir artifacts/traces-1
    tools-traces merge artifacts/traces-0 artifacts/traces-1 --output-dir artifacts/traces
    """
    from tools_traces.merge import merge as merge_runs

    config, invocation = resolve(MergeConfig, options, __version__)
    show_run(merge_runs(config, invocation), as_json)


@main.command()
@click.argument("rubric", required=True)
@config_options(VerdictsConfig, leave_out=("rubric",))
def verdicts(as_json: bool, **options) -> None:
    """Make training rows for a judge from replies that people have judged: SFT and GRPO rows, and a held-out part.

    \b
    tools-traces verdicts refusal.yaml --data labelled.jsonl --output-dir artifacts/verdicts
    tools-sft --base-model Qwen/Qwen3-0.6B --data artifacts/verdicts/sft.jsonl --no-eval \\
        --profile artifacts/verdicts/profile.yaml --output-dir artifacts/judge
    tools-bench agreement refusal.yaml --model artifacts/judge --data artifacts/verdicts/held_out.jsonl
    """
    from tools_traces.verdicts import make_verdicts

    config, invocation = resolve(VerdictsConfig, options, __version__)
    show_run(make_verdicts(config, invocation), as_json)
