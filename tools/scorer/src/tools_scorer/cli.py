"""The command line of tools-scorer."""

from __future__ import annotations

import click

from tools_scorer import __version__
from tools_scorer.config.scorer import ScoreConfig, ScorerEvaluateConfig, ServeConfig, TrainConfig
from tools_scorer.config.states import ExtractConfig, PreprocessConfig
from tools_shared.cli import ToolGroup, config_options, resolve, show_run
from tools_shared.console import show, show_either


@click.group(cls=ToolGroup)
@click.version_option(__version__, prog_name="tools-scorer")
def main() -> None:
    """Predict from hidden states whether a trace is right."""


@main.command("preprocess")
@config_options(PreprocessConfig)
def preprocess_command(as_json: bool, **options) -> None:
    """Prepare attempts: the tokens that the model reads, where steps end, and whether the answer is right.

    \b
    tools-scorer preprocess --data traces.jsonl --model MODEL --output-dir artifacts/scorer_data
    tools-scorer preprocess --data artifacts/traces/traces.graded.jsonl --delimiter '\\n' --output-dir DIR
    """
    from tools_scorer.preprocess import preprocess

    config, invocation = resolve(PreprocessConfig, options, __version__)
    show_run(preprocess(config, invocation), as_json)


@main.command("extract")
@config_options(ExtractConfig)
def extract_command(as_json: bool, **options) -> None:
    """Run a model over the traces and keep its hidden states where steps end.

    \b
    tools-scorer extract --model MODEL --data artifacts/scorer_data/traces.jsonl --output-dir STATES
    tools-scorer extract --model MODEL --data F --output-dir STATES --shard 0/4 --layers 14
    """
    from tools_scorer.extract import extract

    config, _ = resolve(ExtractConfig, options, __version__)
    hidden = extract(config)
    counts = {"n_traces": hidden.n_traces, "n_rows": hidden.n_rows, "missing": hidden.missing()}
    show_either({"path": str(hidden.path), **counts}, hidden.path, as_json)


@main.command("train")
@config_options(TrainConfig)
def train_command(as_json: bool, **options) -> None:
    """Train a scorer on hidden states, calibrate it, and fold both into its weights.

    \b
    tools-scorer train --data STATES --step-sample-ratio 1.0 --config-name qwen3_4b_default
    tools-scorer train --data STATES --config-name demo --loss pairwise --export onnx --output-dir artifacts/scorer
    """
    from tools_scorer.train import train

    config, invocation = resolve(TrainConfig, options, __version__)
    show_run(train(config, invocation), as_json)


@main.command("score")
@config_options(ScoreConfig)
def score_command(as_json: bool, **options) -> None:
    """Score traces: the probability of each step, and of the trace by mean, last, minimum and moving average.

    \b
    tools-scorer score --scorer artifacts/scorer --data STATES --output-file scores.jsonl
    tools-scorer score --scorer artifacts/scorer --data traces.jsonl --output-file scores.jsonl
    """
    from tools_scorer.score import describe, score

    config, _ = resolve(ScoreConfig, options, __version__)
    show(describe(score(config), as_json))


@main.command("evaluate")
@config_options(ScorerEvaluateConfig)
def evaluate_command(as_json: bool, **options) -> None:
    """Evaluate a scorer on unseen questions: AUROC within a question, baselines, votes and replays.

    \b
    tools-scorer evaluate --scorer artifacts/scorer --data STATES --output-dir artifacts/scorer_eval
    """
    from tools_scorer.evaluate import evaluate

    config, invocation = resolve(ScorerEvaluateConfig, options, __version__)
    show_run(evaluate(config, invocation), as_json)


@main.command("serve")
@config_options(ServeConfig, gives_json=False)
def serve_command(**options) -> None:
    """Answer over HTTP: POST /score with text or hidden states, GET /health.

    \b
    tools-scorer serve --scorer artifacts/scorer --port 8080
    """
    from tools_scorer.serve import serve

    config, _ = resolve(ServeConfig, options, __version__)
    serve(config)
