"""The command line of tools-bench."""

from __future__ import annotations

import click

from tools_bench import __version__
from tools_bench.config import (
    AgreementConfig,
    BenchConfig,
    BudgetConfig,
    CompareConfig,
    DataConfig,
    DoctorConfig,
    EvaluateConfig,
    ImportConfig,
    LogExportConfig,
    ReportConfig,
    RescoreConfig,
    SavingsConfig,
    TagConfig,
)
from tools_bench.serving.options import ServeChatConfig
from tools_bench.view.options import ViewConfig
from tools_bench.watching.options import WatchConfig
from tools_shared.cli import ToolGroup, config_options, resolve, show_run
from tools_shared.console import show, show_either
from tools_shared.errors import ToolError


@click.group(cls=ToolGroup)
@click.version_option(__version__, prog_name="tools-bench")
def main() -> None:
    """Evaluate models and compare runs: every rate with its interval, every difference paired.

    \b
    tools-bench evaluate --model artifacts/grpo --output-dir artifacts/grpo_eval --output-file grpo_eval.csv
    tools-bench compare artifacts/prep_sft artifacts/grpo
    """


@main.command()
@config_options(EvaluateConfig)
def evaluate(as_json: bool, **options) -> None:
    """Evaluate a model on test problems with checkable answers.

    \b
    tools-bench evaluate --model artifacts/grpo --output-dir artifacts/grpo_eval --output-file grpo_eval.csv
    EVAL_SAMPLES=100 tools-bench evaluate --model Qwen/Qwen3-0.6B --eval-data "hf://openai/gsm8k?config=main&split=test"
    """
    from tools_bench.evaluate import run_evaluation
    from tools_shared.engines.http.served import with_served

    config, invocation = resolve(EvaluateConfig, options, __version__)
    config = with_served(config)
    show_run(run_evaluation(config, invocation), as_json)


@main.command()
@click.argument("files", nargs=-1)
@config_options(BenchConfig)
def run(files: tuple[str, ...], as_json: bool, **options) -> None:
    """Run a suite, or your own FILES, on a model or an endpoint; resumable, every rate with its interval.

    \b
    tools-bench run my.jsonl --endpoint http://localhost:8000
    tools-bench run --model-name qwen3:8b-baseline --endpoint http://localhost:8000/chat --suite standard
    tools-bench run --model artifacts/grpo --suite quick --output-dir outputs/benchmarks
    tools-bench run --model-name qwen3:8b-sft-001 --endpoint http://localhost:8000/chat \\
        --compare outputs/benchmarks/qwen3_8b-baseline/benchmark_results.json --fail-on accuracy_lenient:1
    """
    from tools_bench.run import dry_run, run_benchmark
    from tools_shared.engines.http.served import with_served

    if files:
        options["data"] = (*files, *options["data"])
        click.get_current_context().set_parameter_source("data", click.core.ParameterSource.COMMANDLINE)
    config, invocation = resolve(BenchConfig, options, __version__)
    config = with_served(config)
    if config.dry_run:
        show(dry_run(config))
        return
    show_run(run_benchmark(config, invocation), as_json)


@main.command()
@config_options(DoctorConfig)
def doctor(as_json: bool, **options) -> None:
    """Ask a server one question; show request, prompt, reply, tokens, stop reason, and what would fix what is odd.

    \b
    tools-bench doctor --endpoint http://localhost:8000
    """
    from tools_bench.doctor import describe, diagnose

    config, _ = resolve(DoctorConfig, options, __version__)
    found = diagnose(config)
    show_either(found.to_json(), describe(found), as_json)
    if found.failed:
        raise ToolError(f"{found.address}: {found.failed}")


@main.command()
@click.argument("runs", nargs=-1, required=True)
@config_options(CompareConfig, leave_out=("runs",))
def compare(as_json: bool, **options) -> None:
    """Compare evaluated RUNS on the same questions: table, paired differences and a bar chart.

    \b
    tools-bench compare artifacts/base_eval artifacts/prep_sft artifacts/grpo --baseline prep_sft
    """
    from tools_bench.compare import run_comparison

    config, invocation = resolve(CompareConfig, options, __version__)
    show_run(run_comparison(config, invocation), as_json)


@main.command()
@click.argument("runs", nargs=-1, required=True)
@config_options(BudgetConfig, leave_out=("runs",))
def budget(as_json: bool, **options) -> None:
    """Compare trained RUNS by the number of rows they were trained on: table and figure.

    The intervals cover questions and seeds. Training method, rows and seed are read from each run; the first method is
    the baseline.

    \b
    tools-bench budget artifacts/budgets/*/*-* --start artifacts/prep_sft --output-dir artifacts/budgets/figure
    """
    from tools_bench.budget import run_budget

    config, invocation = resolve(BudgetConfig, options, __version__)
    show_run(run_budget(config, invocation), as_json)


@main.command()
@click.argument("run")
@config_options(SavingsConfig, leave_out=("run",))
def savings(as_json: bool, **options) -> None:
    """Show what --prune would have saved over the samples of RUN: accuracy against tokens, beside fewer samples.

    RUN is one of evaluate --samples K, or of tools-traces --keep all --max-attempts K.

    \b
    tools-bench evaluate --samples 16 --prune 'step:artifacts/scorer<0' --prune 'confidence:16<0' --output-dir whole
    tools-bench savings whole --output-dir savings
    """
    from tools_bench.savings.publish import run_savings

    config, invocation = resolve(SavingsConfig, options, __version__)
    show_run(run_savings(config, invocation), as_json)


@main.command()
@click.argument("folders", nargs=-1, required=True)
@config_options(ReportConfig, leave_out=("folders",))
def report(as_json: bool, **options) -> None:
    """Make one self-contained HTML dashboard of the runs in FOLDERS.

    \b
    tools-bench report artifacts outputs/benchmarks --output-file report.html
    """
    from tools_bench.report import run_report

    config, _ = resolve(ReportConfig, options, __version__)
    path = run_report(config)
    show_either({"path": str(path)}, path, as_json)


@main.command()
@click.argument("root")
@config_options(ViewConfig, leave_out=("root",), gives_json=False)
def view(**options) -> None:
    """Show the runs below ROOT in a browser: those being made as they go on, finished ones, replies, flips.

    \b
    tools-bench view artifacts
    tools-bench view artifacts --host 0.0.0.0 --port 8090
    """
    from tools_bench.view.serve import serve_view

    config, _ = resolve(ViewConfig, options, __version__)
    serve_view(config)


@main.command()
@click.argument("run")
@config_options(RescoreConfig, leave_out=("run",))
def rescore(as_json: bool, **options) -> None:
    """Grade the stored responses of RUN again with the current grader; no requests are sent.

    \b
    tools-bench rescore outputs/benchmarks/qwen3_8b-baseline
    """
    from tools_bench.rescore import run_rescore

    config, invocation = resolve(RescoreConfig, options, __version__)
    show_run(run_rescore(config, invocation), as_json)


@main.command()
@click.argument("rubric", required=True)
@config_options(AgreementConfig, leave_out=("rubric",))
def agreement(as_json: bool, **options) -> None:
    """Measure the judge of RUBRIC against people's labels: balanced accuracy, kappa, calibration, beside baselines.

    The result is kept with the judge and printed beside its scores.

    \b
    tools-bench agreement refusal.yaml --data labelled.jsonl
    tools-bench agreement refusal.yaml --model artifacts/judge --data artifacts/verdicts/held_out.jsonl \\
        --train-data artifacts/verdicts/train.jsonl
    """
    from tools_bench.agreement import run_agreement

    config, invocation = resolve(AgreementConfig, options, __version__)
    show_run(run_agreement(config, invocation), as_json)


@main.command("import")
@click.argument("harness", type=click.Choice(["lm-eval", "inspect", "lighteval", "nemo"]))
@click.argument("path")
@config_options(ImportConfig, leave_out=("harness", "path"))
def import_log(as_json: bool, **options) -> None:
    """Read another harness's per-sample log as a run: graded again here, beside the harness's own verdicts.

    \b
    tools-bench import lm-eval out/my-model --output-dir outputs/benchmarks/lm-eval
    tools-bench import inspect logs/2026-11-28_gsm8k.eval
    """
    from tools_bench.logs.importing import run_import

    config, invocation = resolve(ImportConfig, options, __version__)
    show_run(run_import(config, invocation), as_json)


@main.command()
@click.argument("harness", type=click.Choice(["inspect"]))
@click.argument("run")
@config_options(LogExportConfig, leave_out=("run",))
def export(harness: str, as_json: bool, **options) -> None:
    """Write the samples of RUN as logs for inspect_ai's viewer, one file a task.

    \b
    tools-bench export inspect outputs/benchmarks/qwen3_8b-baseline
    """
    from tools_bench.logs.exporting import run_export

    config, _ = resolve(LogExportConfig, options, __version__)
    paths = [str(path) for path in run_export(config)]
    show_either({"files": paths}, "\n".join(paths), as_json)


@main.command()
@click.argument("root")
@config_options(WatchConfig, leave_out=("root",))
def watch(as_json: bool, **options) -> None:
    """Benchmark every finished run below ROOT once and judge it by a policy: PASS, WARN or BLOCK for each metric.

    \b
    tools-bench watch artifacts --suite quick --policy gates.yaml
    tools-bench watch artifacts --suite quick --policy gates.yaml --once
    """
    from tools_bench.watch import run_watch

    config, invocation = resolve(WatchConfig, options, __version__)
    judged = run_watch(config, invocation)
    lines = [f"{one.verdict}  {one.shown}" for one in judged]
    show_either({"runs": {one.shown: one.verdict for one in judged}}, "\n".join(lines), as_json)


@main.group(cls=ToolGroup)
def data() -> None:
    """Fetch or verify the data of suites, pinned by revision and hash."""


@data.command("fetch")
@config_options(DataConfig)
def fetch_data(as_json: bool, **options) -> None:
    """Fetch the files that a suite pins into the data folder (TOOLS_BENCH_DATA_DIR, else the cache folder).

    \b
    tools-bench data fetch --suite standard
    """
    from tools_bench.data import fetch

    config, _ = resolve(DataConfig, options, __version__)
    lines = fetch(config.suite)
    show_either({"files": lines}, "\n".join(lines), as_json)


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_data(as_json: bool) -> None:
    """List the suites that come with the package: kind, questions, what they can tell, source, pin, licence.

    \b
    tools-bench data list
    """
    from tools_bench.requests.catalogue import as_markdown, catalogue

    show_either({"suites": catalogue()}, as_markdown(), as_json)


@data.command("verify")
@config_options(DataConfig)
def verify_data(as_json: bool, **options) -> None:
    """Check that the files pinned by a suite exist and have the pinned hashes.

    \b
    tools-bench data verify --suite standard
    """
    from tools_bench.data import verify

    config, _ = resolve(DataConfig, options, __version__)
    lines = verify(config.suite)
    show_either({"files": lines}, "\n".join(lines), as_json)


@main.command()
@config_options(TagConfig)
def tag(as_json: bool, **options) -> None:
    """Tag problems with curriculum topics and a grade band, each with its evidence.

    \b
    tools-bench tag --data math.jsonl --output-file tagged.jsonl --grade 6
    tools-bench tag --question "What is 3/4 of 20?"
    """
    from tools_bench.tag import run_tag

    config, _ = resolve(TagConfig, options, __version__)
    result = run_tag(config)
    show_either({"result": result}, result, as_json and config.question is None)


@main.command("serve-chat")
@config_options(ServeChatConfig, gives_json=False)
def serve_chat_command(**options) -> None:
    """Answer a tutor's requests (POST /chat) from a model on a server, so that a benchmark of /chat runs against it.

    \b
    make serve RUN=artifacts/grpo
    tools-bench serve-chat --endpoint http://localhost:8000/v1 --port 8080
    tools-bench run --endpoint http://localhost:8080/chat --model-name grpo --suite standard
    """
    from tools_bench.serving.chat import serve_chat

    config, _ = resolve(ServeChatConfig, options, __version__)
    serve_chat(config)
