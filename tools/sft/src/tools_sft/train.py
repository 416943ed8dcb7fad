"""Supervised fine-tuning with TRL's trainer, on tokens and labels that we made ourselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools_sft.config import SftConfig
from tools_sft.data import Encoded, encode, pack
from tools_sft.teacher import find_teacher
from tools_shared.cli import Invocation, say
from tools_shared.evaluation import evaluate_in_run, read_test_problems
from tools_shared.models import choose_profile, load, make_trainable, resolve, save, save_merged
from tools_shared.models.load import Loaded, load_tokenizer, weights_sha256
from tools_shared.models.train import saves_full_weights
from tools_shared.prompts import Example, Profile
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.sources import Collected, read_examples

SHOWN = {"loss": "loss", "divergence": "divergence", "mean_token_accuracy": "token accuracy", "learning_rate": "lr"}


def train(config: SftConfig, invocation: Invocation) -> Manifest:
    """Train, save and evaluate; returns the finished run's manifest.

    Everything that a user can have got wrong in data and options is found before the weights are loaded.
    """
    output_dir = Path(config.output_dir or default_output_dir(config.run_name))
    if done := finished(output_dir, config):
        return done
    ref = resolve(config.base_model)
    profile = choose_profile(ref, config.profile)
    rows = read_examples(
        config.source, question_key=config.question_key, answer_key=config.answer_key, limit=config.n_train
    )
    tests = read_test_problems(config) if config.eval or config.eval_before else None
    tokenizer = load_tokenizer(ref)
    teacher = find_teacher(config, profile, tokenizer) if config.teacher else None
    encoded = encode(tokenizer, profile, rows.items, config)
    with draft(output_dir, config, invocation, config.run_name) as run:
        run.add_input("base_model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run and ref.run.sha256)
        if teacher:
            sha256 = weights_sha256(teacher.weights)
            run.add_input("teacher", teacher.spec, sha256, run_sha256=teacher.run and teacher.run.sha256)
        run.add_input("train", config.source, rows.sha256, n_read=rows.n_read, n_used=len(encoded.examples))
        run.reject([*rows.rejected, *encoded.rejected, *(tests.rejected if tests else [])])
        if tests:
            run.add_input("eval", config.eval_file, tests.sha256, n_read=tests.n_read, n_used=len(tests.items))
        _say_what_is_used(rows, encoded)
        return _train_and_evaluate(run, config, ref, profile, encoded, tests)


def _say_what_is_used(rows: Collected, encoded: Encoded) -> None:
    n_rejected = len(rows.rejected) + len(encoded.rejected)
    cut = f", {encoded.n_truncated} cut" if encoded.n_truncated else ""
    say(f"{rows.n_read} rows read, {len(encoded.examples)} used{cut}, {n_rejected} rejected; {encoded.n_tokens} tokens")


def _train_and_evaluate(run: Draft, config: SftConfig, ref, profile: Profile, encoded: Encoded, tests) -> Manifest:
    metrics: dict[str, Any] = {"n_train": len(encoded.examples), "train_tokens": encoded.n_tokens}
    if config.eval_before:
        before = evaluate_in_run(run, ref, tests.items, profile, config, "_before")
        metrics |= {f"before_{name}": value for name, value in before.metrics.items()}
    loaded, trained = _fit(run, config, ref, profile, encoded)
    metrics |= trained
    if config.eval:
        metrics |= evaluate_in_run(run, loaded, tests.items, profile, config).metrics
    if config.merge:
        metrics["merge_difference"] = save_merged(loaded, run.path / "merged", profile)
    return run.finish(metrics, seed=config.seed, profile=profile.name)


def _fit(run: Draft, config: SftConfig, ref, profile: Profile, encoded: Encoded) -> tuple[Loaded, dict[str, Any]]:
    """The trained model, saved in the draft, and what training said about itself."""
    import torch

    from tools_shared.training import full_disk_is_resumable, resume_point

    torch.manual_seed(config.seed)
    loaded = make_trainable(load(ref, config.dtype, config.device, with_adapter=False), config)
    with full_disk_is_resumable():
        trainer = make_trainer(run, config, loaded, encoded)
        checkpoint = resume_point(run)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        save(loaded, run.model_dir, run.final / "model", profile, saves_full_weights(loaded, config))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return loaded, {
        "steps": trainer.state.global_step,
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
    }


def make_trainer(run: Draft, config: SftConfig, loaded: Loaded, encoded: Encoded):
    """TRL's SFTTrainer over our examples, unpacked or packed, with its own data preparation switched off."""
    from functools import partial

    from trl import SFTConfig as TrlConfig

    from tools_sft.data import collate
    from tools_shared.training import RunCallback, trainer_options, without_printer

    bins = pack(encoded.examples, config.max_length) if config.packing else [[e] for e in encoded.examples]
    args = TrlConfig(
        **trainer_options(config, run),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )
    callback = RunCallback(run, SHOWN)
    trainer = _trainer_class(config)(
        model=loaded.model,
        args=args,
        train_dataset=as_dataset(bins),
        data_collator=partial(collate, pad_token_id=loaded.tokenizer.pad_token_id),
        processing_class=loaded.tokenizer,
        callbacks=[callback],
    )
    return without_printer(trainer)


def _trainer_class(config: SftConfig):
    if config.objective == "distill":
        from functools import partial

        from tools_sft.distill import Distiller

        return partial(Distiller, options=config)
    from trl import SFTTrainer

    return SFTTrainer


def as_dataset(bins: Sequence[Sequence[Example]]):
    """One row a bin: the token ids and loss masks of its examples, each (examples, tokens)."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "token_ids": [[example.token_ids for example in one] for one in bins],
            "loss_mask": [[example.loss_mask for example in one] for one in bins],
        }
    )
