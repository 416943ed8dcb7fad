"""Evaluate one model: completions drawn, graded, and written as a run."""

from __future__ import annotations

from pathlib import Path

from tools_bench.config import EvaluateConfig
from tools_bench.votes import vote
from tools_shared.cli import Invocation, say
from tools_shared.engines import open_engine
from tools_shared.evaluation import describe, evaluate, read_test_problems, sampling_params, write_evaluation
from tools_shared.models import choose_profile, resolve, weights_sha256
from tools_shared.runs import default_output_dir, draft, finished
from tools_shared.runs.lineage import undeduplicated, warning
from tools_shared.runs.read import Manifest


def run_evaluation(config: EvaluateConfig, invocation: Invocation) -> Manifest:
    """Evaluate a model and publish the run; returns its manifest."""
    output_dir = Path(config.output_dir or default_output_dir("eval"))
    if done := finished(output_dir, config):
        return done
    ref = resolve(config.model_path)
    profile = choose_profile(ref, config.profile)
    tests = read_test_problems(config)
    with draft(output_dir, config, invocation, "eval") as run:
        engine = open_engine(ref, config)
        run.add_input("model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run and ref.run.sha256)
        run.add_input("eval", config.eval_file, tests.sha256, n_read=tests.n_read, n_used=len(tests.items))
        run.reject(tests.rejected)
        if said := warning(undeduplicated(run.inputs)):
            say(said)
        evaluation = evaluate(engine, tests.items, profile, sampling_params(config))
        write_evaluation(run, evaluation, csv_path=run.path / config.output_file if config.output_file else None)
        metrics = evaluation.metrics | vote(run, engine, tests.items, profile, config)
        say(describe(metrics))
        return run.finish(metrics, seed=config.seed, profile=profile.name)
