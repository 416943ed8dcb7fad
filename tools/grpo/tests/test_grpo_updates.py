"""Several optimiser steps on the same rollouts: TRL's losses and gradients, and the same bits after a kill."""

import json
import random

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from tools_grpo.losses.shared_prefix import SharedPrefixTrainer
from tools_shared.files import sha256_file
from tools_shared.models import load, resolve
from tools_shared.runs import read_manifest, read_metrics
from tools_shared.training.trainable import LoraOptions, make_trainable

PROMPTS = [f"How many legs have {n} spiders and {n + 1} ants?" for n in range(2, 10)]


class Seen(TrainerCallback):
    """The gradients of every optimiser step."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model, **_):
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def rollouts(texts, trainer):
    """Tokens that depend on prompt, step and place in the group alone; lengths differ."""
    ids = [trainer.processing_class(text)["input_ids"] for text in texts]
    made = []
    for i, text in enumerate(texts):
        draw = random.Random(f"{text}{trainer.state.global_step}{i % 4}")
        made.append([draw.randrange(5, 900) for _ in range(draw.randrange(2, 15))])
    return {"prompt_ids": ids, "completion_ids": made, "logprobs": None}


def reward(completion_ids, **_):
    return [float(sum(ids) % 7) for ids in completion_ids]


def trained(cls, folder, **options):
    torch.manual_seed(0)
    loaded = make_trainable(load(resolve("demo"), device="cpu", with_adapter=False), LoraOptions())
    for name, weight in loaded.model.named_parameters():
        if "lora_B" in name:  # zeros: the gradient of the other factor would be zero too
            torch.nn.init.normal_(weight, std=0.02)
    args = GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=8, num_generations=4, num_iterations=2, max_steps=4,
        max_completion_length=16, use_cpu=True, bf16=False, report_to="none", learning_rate=5e-3, save_strategy="no",
        lr_scheduler_type="constant", logging_steps=1, gradient_checkpointing=False, optim="sgd", max_grad_norm=0,
        **options,
    )  # fmt: skip
    seen = Seen()
    trainer = cls(
        model=loaded.model,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": text} for text in PROMPTS]),
        reward_funcs=[reward],
        processing_class=loaded.tokenizer,
        rollout_func=rollouts,
        callbacks=[seen],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    clipped = [entry["clip_ratio/region_mean"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, seen.gradients, clipped


@pytest.mark.parametrize("loss", ["dapo", "grpo"])
def test_two_updates_a_rollout_are_stock_trls(tmp_path, loss):
    options = {"loss_type": loss, "epsilon": 0.005}
    expected_losses, expected, _ = trained(GRPOTrainer, tmp_path, **options)
    losses, gradients, clipped = trained(SharedPrefixTrainer, tmp_path, **options)
    assert losses == pytest.approx(expected_losses, abs=1e-5)
    for mine, theirs in zip(gradients, expected, strict=True):
        size = torch.stack([g.norm() for g in theirs.values()]).norm()
        apart = torch.stack([(mine[n] - g).norm() for n, g in theirs.items()]).norm()
        assert apart <= 1e-5 * size
    # The first update of a batch has the ratio 1; the second is clipped somewhere, so the old policy counts.
    assert clipped[0] == 0 == clipped[2]
    assert clipped[1] > 0


ARGS = [
    "--num-generations", "4", "--prompts-per-step", "2", "--batch-size", "4", "--max-completion-length", "24",
    "--learning-rate", "1e-2", "--reward", "length", "--reward-check", "off", "--save-steps", "1", "--no-eval",
    "--updates-per-rollout", "3", "--max-steps", "9", "--lora-dropout", "0.1", "--train-samples", "8",
]  # fmt: skip


def results(folder):
    files = sorted((folder / "rollouts").glob("*.jsonl"))
    return sha256_file(folder / "model" / "adapter_model.safetensors"), [path.read_text() for path in files]


def test_a_run_killed_between_two_updates_of_a_rollout_ends_with_the_same_bits(trainer, tmp_path):
    grpo = trainer("grpo")
    done = grpo.run(*ARGS, "--output-dir", tmp_path / "unbroken")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for text in results(tmp_path / "unbroken")[1] for line in text.splitlines()]
    assert sorted({row["step"] for row in rows}) == [0, 3, 6]
    assert [row["step"] for row in read_metrics(tmp_path / "unbroken") if "reward" in row] == [1, 4, 7]
    # A signal in the middle waits for the last update of the rollout.
    process = grpo.stopped_at(4, tmp_path / "stopped", *ARGS, number=15)
    said = process.stderr.read()
    assert process.wait() == 3, said
    assert "step 6 of 9 is saved" in said or "step 9 of 9" in said
    done = grpo.run(*ARGS, "--output-dir", tmp_path / "stopped")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "stopped") == results(tmp_path / "unbroken")
    assert read_manifest(tmp_path / "stopped").metrics["steps"] == 9
