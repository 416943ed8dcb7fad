"""Evaluate one model: completions sampled, graded, and written as a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools_bench.config import EvaluateConfig
from tools_bench.grading.votes import vote
from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.engines import Engine, open_watched
from tools_shared.engines.http.chat import HttpEngine
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.evaluation import describe, evaluate, read_test_problems, sampling_params, write_evaluation
from tools_shared.models import ModelRef, choose_profile, resolve, weights_sha256
from tools_shared.prompts import Profile
from tools_shared.pruning.open import open_watcher
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.lineage import undeduplicated, warning
from tools_shared.runs.read import Manifest


def run_evaluation(config: EvaluateConfig, invocation: Invocation) -> Manifest:
    """Evaluate a model and publish the run; returns its manifest."""
    output_dir = Path(config.output_dir or default_output_dir("eval"))
    if done := finished(output_dir, config):
        return done
    ref = resolve(config.model)
    profile = choose_profile(ref, config.profile)
    tests = read_test_problems(config)
    with draft(output_dir, config, invocation, "eval") as run:
        _note_model(run, config, ref)
        run.add_sources("eval", tests)
        run.reject(tests.rejected)
        if said := warning(undeduplicated(run.inputs)):
            say(said)
        with _engine(run, config, ref, profile) as engine:
            evaluation = evaluate(engine, tests.items, profile, sampling_params(config))
            write_evaluation(run, evaluation, csv_path=run.path / config.output_file if config.output_file else None)
            metrics = evaluation.metrics | vote(run, engine, tests.items, profile, config)
        say(describe(metrics))
        return run.finish(metrics, seed=config.seed, profile=profile.name)


def _note_model(run: Draft, config: EvaluateConfig, ref: ModelRef) -> None:
    if config.engine == "http":
        where = f"{config.shown('endpoint')} {config.model_name or ''}".strip()
        run.add_input("model", where, digest(where))
    else:
        run.add_input("model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run and ref.run.sha256)


@contextmanager
def _engine(run: Draft, config: EvaluateConfig, ref: ModelRef, profile: Profile) -> Iterator[Engine]:
    """The engine; one that asks a server keeps its replies in the draft until the run is complete, so that a run which
    a server's failure ended resumes from there."""
    watcher = open_watcher(config.prune_rules, ref, profile, config.samples or 1, config.dtype, config.device)
    engine = open_watched(ref, config, watcher)
    if not isinstance(engine, HttpEngine):
        yield engine
        return
    path = run.path / "replies.sqlite"
    engine.cache = ReplyCache(path, config.model_name or "", engine.api.worth_keeping)
    try:
        yield engine
    finally:
        engine.cache.close()
    for file in run.path.glob(f"{path.name}*"):
        file.unlink()
