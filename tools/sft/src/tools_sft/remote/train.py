"""Supervised fine-tuning on a Tinker-compatible service: our tokens and loss masks, its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from tools_sft.config import SftConfig
from tools_sft.train import Prepared, note_inputs, prepare, say_what_is_used, with_defaults
from tools_shared.cli import Invocation
from tools_shared.evaluation import evaluate_in_run
from tools_shared.processes.stopping import StopRequest
from tools_shared.prompts import Example
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.training.backends import Loss, TokenRow
from tools_shared.training.guards import NotANumber
from tools_shared.training.preview import n_steps
from tools_shared.training.steps import Batch, run_steps
from tools_shared.training.tinker.base import base_for
from tools_shared.training.tinker.run import before, bring_home, open_backend, plan_of
from tools_shared.training.tinker.service import Service, connect

SHOWN = {"loss": "loss", "learning_rate": "lr", "grad_norm": "gradient norm"}


def train_remotely(config: SftConfig, invocation: Invocation) -> Manifest:
    """See `tools_sft.train.train`; evaluations sample on the service too."""
    with StopRequest().listening() as stop:
        output_dir = Path(config.output_dir or default_output_dir(config.run_name))
        if done := finished(output_dir, config):
            return done
        given = prepare(config)
        service = connect(config.tinker_url)
        with draft(output_dir, config, invocation, config.run_name) as run:
            note_inputs(run, config.backend, given)
            say_what_is_used(given)
            return _train(run, with_defaults(config, given), given, service, stop)


def _train(run: Draft, config: SftConfig, given: Prepared, service: Service, stop: StopRequest) -> Manifest:
    base = base_for(config.base_model, config.backend)
    encoded, profile = given.encoded, given.profile
    backend = open_backend(run, service, base, given.tokenizer, profile)
    metrics: dict[str, Any] = {"n_train": len(encoded.examples), "train_tokens": encoded.n_tokens}
    if config.eval_before and given.asked:
        rates = before(run, backend, given.asked, profile, config)
        metrics |= {f"before_{name}": value for name, value in rates.items()}
    batches = ExampleBatches(encoded.examples, config)
    plan = plan_of(config, batches.n_steps)
    run_steps(backend, run, plan, batches, stop, [NotANumber(config.learning_rate)], SHOWN)
    metrics |= bring_home(run, backend, base, profile)
    if config.eval and given.asked:
        metrics |= evaluate_in_run(run, backend.engine(), given.asked, profile, config).metrics
    return run.finish(metrics, seed=config.seed, profile=profile.name)


class ExampleBatches:
    """The examples of each step: every epoch in an order of (seed, epoch) alone, its last step with what is left."""

    def __init__(self, examples: Sequence[Example], config: SftConfig) -> None:
        self.examples, self.config = examples, config
        self.per_epoch = math.ceil(len(examples) / config.step_examples)
        self.n_steps = n_steps(self.per_epoch, 1, config.epochs, config.max_steps)

    def __call__(self, done: int) -> Batch:
        epoch, place = divmod(done, self.per_epoch)
        order = list(range(len(self.examples)))
        Random(f"{self.config.seed}:{epoch}").shuffle(order)
        size = self.config.step_examples
        return batch_of([self.examples[i] for i in order[place * size : (place + 1) * size]])


def batch_of(examples: Sequence[Example]) -> Batch:
    """Cross-entropy, in which each learned token of the step has the same weight and all of them together 1."""
    n_learned = sum(sum(example.loss_mask[1:]) for example in examples)
    rows = [
        TokenRow(example.token_ids, tuple(learn / n_learned for learn in example.loss_mask[1:])) for example in examples
    ]
    return Batch(rows, Loss(), {"n_learned": n_learned})
