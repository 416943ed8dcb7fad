"""GRPO on a Tinker-compatible service: it samples and updates, the problems, rewards and ledgers are ours."""

from __future__ import annotations

from pathlib import Path

from tools_grpo.config import GrpoConfig
from tools_grpo.remote.batches import GroupBatches
from tools_grpo.rollouts.judge import Judge, training_rows
from tools_grpo.train import (
    Prepared,
    compare,
    note_inputs,
    prepare,
    prompts_by_text,
    reward_figures,
)
from tools_shared.cli import Invocation
from tools_shared.models.load import load_tokenizer
from tools_shared.processes.stopping import StopRequest
from tools_shared.runs import Draft, default_output_dir, draft, finished, read_metrics
from tools_shared.runs.read import Manifest
from tools_shared.training.guards import NoSpread, NotANumber, Truncated
from tools_shared.training.steps import run_steps
from tools_shared.training.tinker.base import base_for
from tools_shared.training.tinker.run import before, bring_home, open_backend, plan_of
from tools_shared.training.tinker.service import Service, connect

SHOWN = {
    "reward": "reward",
    "frac_reward_zero_std": "zero-variance groups",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
    "sampling/logp_difference": "off-policy",
    "judge/n_asked": "judged",
    "judge/n_failed": "not judged",
    "judge/money": "cost",
}


def train_remotely(config: GrpoConfig, invocation: Invocation) -> Manifest:
    """See `tools_grpo.train.train`; evaluations sample on the service too."""
    with StopRequest().listening() as stop:
        output_dir = Path(config.output_dir or default_output_dir("grpo"))
        if done := finished(output_dir, config):
            return done
        given = prepare(config)
        service = connect(config.tinker_url)
        with draft(output_dir, config, invocation, "grpo") as run:
            note_inputs(run, config.backend, given)
            return _train(run, config, given, service, stop)


def _train(run: Draft, config: GrpoConfig, given: Prepared, service: Service, stop: StopRequest) -> Manifest:
    base, profile = base_for(config.base_model, config.backend), given.profile
    backend = open_backend(run, service, base, load_tokenizer(base.ref), profile)
    if given.parts.tests:
        before(run, backend, given.parts.tests, profile, config)
    for reward in given.rewards:
        reward.attach(run.path)
    rows, judge = training_rows(given.rows), Judge(given.rewards, given.rows)
    batches = GroupBatches(run, config, backend, prompts_by_text(given), rows, judge)
    guards = [
        NotANumber(config.learning_rate),
        Truncated(config.max_truncated, config.guard_steps),
        NoSpread(config.guard_steps),
    ]
    run_steps(backend, run, plan_of(config, batches.n_steps), batches, stop, guards, SHOWN)
    metrics = {"n_train": len(given.prompts), **reward_figures(read_metrics(run.path))}
    metrics |= bring_home(run, backend, base, profile)
    if tests := given.parts.tests:
        metrics |= compare(run, config, backend.engine(), profile, tests, backend.said["correct_before"])
    return run.finish(metrics, seed=config.seed, profile=profile.name)
