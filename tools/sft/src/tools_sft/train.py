"""Supervised fine-tuning with TRL's trainer, on tokens and labels made by our own encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_sft.config import SftConfig
from tools_sft.data.encoding import Encoded, encode, rows_of
from tools_sft.data.weights import weighted
from tools_sft.distillation.teacher import find_teacher
from tools_sft.held_out.rows import HeldOut, divide, prepared
from tools_sft.reports.memory import expected_memory, less_memory
from tools_shared import processes
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.engines import prompts_of
from tools_shared.errors import ToolError
from tools_shared.evaluation import evaluate_in_run, tests_beside
from tools_shared.models import choose_profile
from tools_shared.models.load import Loaded, context_length, load_config, load_tokenizer
from tools_shared.models.resolve import ModelRef
from tools_shared.processes.stopping import StopRequest
from tools_shared.prompts import Example, Profile
from tools_shared.records import Problem
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.sources import Collected, read_examples
from tools_shared.training.tinker.base import base_for, base_sha256
from tools_shared.training.trainable import check_trainable, load_trainable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMAT = 0.9
"""Least share of completions with an answer in the profile's tags after a stage that teaches them."""
SHOWN = {"loss": "loss", "divergence": "divergence", "mean_token_accuracy": "token accuracy", "learning_rate": "lr"}


@dataclass(frozen=True)
class Prepared:
    """Everything that a user can have got wrong in data and options, found right before weights are loaded.

    `tests` is what was read to evaluate on, `asked` the problems of it that the evaluation after training asks."""

    ref: ModelRef
    profile: Profile
    rows: Collected
    tests: Collected | None
    asked: list[Problem]
    tokenizer: PreTrainedTokenizerBase
    teacher: ModelRef | None
    encoded: Encoded
    held_out: HeldOut | None
    weights: list[str]
    """What is said of each source that has a weight."""


def prepare(config: SftConfig) -> Prepared:
    processes.passes(config.step_examples, config.batch_size, "examples", config.processes)
    ref = base_for(config.base_model, config.backend).ref
    if config.backend == "local":
        check_trainable(ref, config)
    profile = choose_profile(ref, config.profile)
    rows = read_examples(
        config.source, question_key=config.question_key, answer_key=config.answer_key, limit=config.n_train
    )
    instead = "; --validation-split holds rows out to measure the loss on"
    tests = tests_beside(config, rows.items, instead) if config.eval or config.eval_before else None
    parts = divide(config, rows.items, tests and tests.items)
    tokenizer = load_tokenizer(ref)
    teacher = find_teacher(config.base_model, config.teacher, profile, tokenizer) if config.teacher else None
    context = context_length(load_config(ref))
    encoded = encode(tokenizer, profile, parts.train, config, context)
    encoded, weights = weighted(encoded, rows, config.data_weight, config.seed)
    held_out = prepared(parts, tokenizer, profile, config, context)
    if tests:
        prompts_of(tests.items, tokenizer, profile, context, config.eval_max_new_tokens)
    return Prepared(ref, profile, rows, tests, parts.tests or [], tokenizer, teacher, encoded, held_out, weights)


def train(config: SftConfig, invocation: Invocation) -> Manifest:
    """Train here, save and evaluate; returns the finished run's manifest. On a service: `tools_sft.remote.train`.

    Raises Incomplete where a signal, a guard or a full disk ended it: the same call resumes.
    """
    if config.backend != "local":
        raise ToolError(f"--backend {config.backend}: call tools_sft.remote.train.train_remotely")
    processes.join(config.device, config.sharding)
    with StopRequest().listening() as stop:
        output_dir = Path(config.output_dir or default_output_dir(config.run_name))
        if done := finished(output_dir, config):
            return done
        given = prepare(config)
        with draft(output_dir, config, invocation, config.run_name) as run:
            note_inputs(run, config.backend, given)
            say_what_is_used(given)
            return _train_and_evaluate(run, with_defaults(config, given), given, stop)


def with_defaults(config: SftConfig, given: Prepared) -> SftConfig:
    """The configuration with the rate and the epochs that its rules give where the user gave none."""
    from tools_shared.training.defaults import format_epochs, learning_rate

    rate, epochs = config.learning_rate, config.epochs
    if rate is None:
        rate = learning_rate(load_config(given.ref), config.full_finetune)
    if epochs is None and config.stage == "prep":
        n_rows = len(rows_of(given.encoded.examples, config.max_length, config.packing))
        epochs = format_epochs(n_rows, config.step_examples)
    elif epochs is None:
        epochs = 1.0
    return replace(config, learning_rate=rate, epochs=epochs)


def note_inputs(run: Draft, backend: str, given: Prepared) -> None:
    for name, ref in (("base_model", given.ref), ("teacher", given.teacher)):
        if ref:
            sha256 = base_sha256(ref, backend)
            run.add_input(name, ref.spec, sha256, run_sha256=ref.run and ref.run.sha256)
    rows, tests, encoded = given.rows, given.tests, given.encoded
    run.add_sources("train", rows, n_used=encoded.n_rows)
    held_out = given.held_out.rejected if given.held_out else []
    run.reject([*rows.rejected, *encoded.rejected, *held_out, *(tests.rejected if tests else [])])
    if tests:
        run.add_sources("eval", tests)


def say_what_is_used(given: Prepared) -> None:
    rows, encoded, held_out = given.rows, given.encoded, given.held_out
    n_held = held_out.n_rows - len(held_out.rejected) if held_out and held_out.n_rows else 0
    held = f", {n_held} held out" if n_held else ""
    n_rejected = rows.n_read - encoded.n_rows - n_held
    cut = f", {encoded.n_truncated} cut" if encoded.n_truncated else ""
    turns = f" in {len(encoded.examples)} examples" if len(encoded.examples) != encoded.n_rows else ""
    used = f"{encoded.n_rows} used{cut}{held}, {n_rejected} rejected"
    say(f"{rows.n_read} rows read, {used}; {encoded.n_tokens} tokens{turns}")
    for line in given.weights:
        say(line)


def _train_and_evaluate(run: Draft, config: SftConfig, given: Prepared, stop: StopRequest) -> Manifest:
    from tools_shared.training.outcome import merged

    encoded, profile = given.encoded, given.profile
    metrics: dict[str, Any] = {"n_train": len(encoded.examples), "train_tokens": encoded.n_tokens}
    metrics |= {"learning_rate": config.learning_rate, "epochs": config.epochs}
    if config.eval_before and given.asked:
        before = evaluate_in_run(run, given.ref, given.asked, profile, config, "_before")
        metrics |= {f"before_{name}": value for name, value in before.metrics.items()}
    loaded, trained = _fit(run, config, given, stop)
    metrics |= trained
    if config.eval and given.asked:
        metrics |= evaluate_in_run(run, loaded, given.asked, profile, config).metrics
        if warning := taught_nothing(config.stage, metrics):
            say(warning)
    if config.merge:
        metrics |= merged(run, loaded, profile, metrics)
    return run.finish(metrics, seed=config.seed, profile=profile.name)


def taught_nothing(stage: str, metrics: Mapping[str, Any]) -> str | None:
    """What to say of a stage for the answer format after which most completions do not have it."""
    rate = metrics["answer_proportion"]
    if stage != "prep" or rate["estimate"] > FORMAT:
        return None
    cut = metrics["truncated_proportion"]["estimate"]
    remedy = "--eval-max-new-tokens" if cut > 1 - FORMAT else "--prep-train-samples, --epochs or --learning-rate"
    return (
        f"warning: this stage was to teach the answer format, and {100 * rate['estimate']:.0f} % of {rate['n']} "
        f"completions have it ({100 * cut:.0f} % were cut at the length limit): raise {remedy}"
    )


def _fit(run: Draft, config: SftConfig, given: Prepared, stop: StopRequest) -> tuple[Loaded, dict[str, Any]]:
    """The trained model, saved in the draft, and what training said about itself."""
    import torch

    from tools_sft.data.packing_check import contaminates
    from tools_sft.held_out.checks import Checks
    from tools_shared.training.checkpoints import resume_point
    from tools_shared.training.guards import NotANumber
    from tools_shared.training.loop import fit, resumable
    from tools_shared.training.outcome import Start, saved, step_losses

    if memory := expected_memory(config, given.ref, given.encoded):
        say(str(memory))
    torch.manual_seed(config.seed)
    with resumable(run, less_memory(config.batch_size, config.gradient_accumulation)):
        loaded = load_trainable(given.ref, config)
        if config.packing and contaminates(loaded):
            say(f"note: {given.ref.spec} does not keep packed examples apart, so they are not packed")
            config = replace(config, packing=False)
        trainer = make_trainer(run, config, loaded, given.encoded)
        start = Start(loaded.model)
        checks = Checks(trainer, run, loaded, given.held_out, given.profile, config) if given.held_out else None
        fit(trainer, run, resume_point(run), stop, [NotANumber(config.learning_rate)])
        held_out = checks.settle() if checks else {}
        history = trainer.state.log_history
        is_used = config.eval and bool(given.asked)
        loaded, learned = saved(run, loaded, given.profile, config, start, history, is_used=is_used)
    return loaded, {"steps": trainer.state.global_step, **step_losses(history), **held_out, **learned}


def make_trainer(run: Draft, config: SftConfig, loaded: Loaded, encoded: Encoded):
    """TRL's SFTTrainer over our examples, unpacked or packed, with its own data preparation switched off."""
    from functools import partial

    from trl import SFTConfig as TrlConfig

    from tools_sft.data.encoding import collate
    from tools_shared.training.callbacks import RunCallback, without_printer
    from tools_shared.training.trainer import prepare_accelerate, trainer_options

    args = TrlConfig(
        **trainer_options(config, run),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=processes.passes(config.step_examples, config.batch_size, "examples"),
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
    prepare_accelerate(args)
    callback = RunCallback(run, SHOWN)
    trainer = _trainer_class(config, loaded)(
        model=loaded.model,
        args=args,
        train_dataset=as_dataset(rows_of(encoded.examples, config.max_length, config.packing)),
        data_collator=partial(collate, pad_token_id=loaded.tokenizer.pad_token_id),
        processing_class=loaded.tokenizer,
        callbacks=[callback],
    )
    return without_printer(trainer)


def _trainer_class(config: SftConfig, loaded: Loaded):
    if config.objective == "distill":
        from functools import partial

        from tools_sft.distillation.trainer import Distiller

        return partial(Distiller, options=config, loaded=loaded)
    from tools_sft.trainer import SftTrainer

    return SftTrainer


def as_dataset(bins: Sequence[Sequence[Example]]):
    """One row a bin: the token ids and loss masks of its examples, each (examples, tokens)."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "token_ids": [[example.token_ids for example in one] for one in bins],
            "loss_mask": [[example.loss_mask for example in one] for one in bins],
        }
    )
