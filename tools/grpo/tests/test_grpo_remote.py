"""Advantages and token weights that a service is sent, against TRL's formulas written in torch; options that it cannot
follow."""

import json
import math

import pytest
import torch
from torch_backend import TorchBackend

from tools_grpo.config import GrpoConfig
from tools_grpo.remote.advantages import advantages_of, token_shares
from tools_grpo.remote.batches import GroupBatches
from tools_grpo.rollouts.judge import Judge, training_rows
from tools_grpo.train import prepare, prompts_by_text
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.runs import draft
from tools_shared.training.backends import Update
from tools_shared.training.steps import off_policy

TOTALS = [1.0, 0.25, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.125, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_those_of_trl(scale):
    rewards = torch.tensor(TOTALS).view(3, 4)
    std = {"group": rewards.std(dim=1, keepdim=True), "batch": rewards.std(), "none": None}[scale]
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    expected = (centred if std is None else centred / (std + 1e-4)).flatten().tolist()
    assert advantages_of(TOTALS, 4, scale) == pytest.approx(expected, abs=1e-6)


def test_completion_without_a_reward_has_no_advantage_and_no_part_in_the_mean():
    found = advantages_of([1.0, math.nan, 0.0, math.nan, math.nan, math.nan], 3, "none")
    assert found == pytest.approx([0.5, 0.0, -0.5, 0.0, 0.0, 0.0])


LENGTHS = [7, 1, 12, 5]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("dapo", [1 / 25] * 4),
        ("bnpo", [1 / 25] * 4),
        ("grpo", [1 / 28, 1 / 4, 1 / 48, 1 / 20]),
        ("dr_grpo", [1 / 80] * 4),
    ],
)
def test_token_shares_are_how_each_loss_averages(loss, expected):
    config = GrpoConfig(loss=loss, max_completion_length=20)
    assert token_shares(LENGTHS, [True] * 4, config) == pytest.approx(expected)


def test_truncated_completions_left_out_count_in_no_average_over_tokens():
    config = GrpoConfig(loss="dapo", mask_truncated=True)
    assert token_shares(LENGTHS, [True, True, False, True], config) == pytest.approx([1 / 13, 1 / 13, 0, 1 / 13])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 0.04}, "--beta 0.04 is not possible with --backend tinker"),
        ({"temperature": 0.7}, "--temperature 0.7"),
        ({"top_k": 20}, "--top-k 20"),
        ({"importance_sampling": "sequence"}, "--importance-sampling sequence"),
        ({"loss": "vespo"}, "--loss vespo is not possible"),
        ({"full_finetune": True}, "--full-finetune is not possible"),
        ({"processes": 2}, "--processes 2"),
        ({"adapter": "merge"}, "--adapter merge"),
        ({"merge": True, "tinker_weights": "keep"}, "--merge needs the adapter here"),
        ({"tinker_url": "tinker.example"}, "is no address"),
    ],
)
def test_what_a_service_cannot_do_is_refused_before_anything_is_paid(options, words):
    with pytest.raises(ToolError) as caught:
        GrpoConfig(backend="tinker", **options)
    assert words in str(caught.value)


def test_options_that_the_service_decides_are_said_to_have_no_effect():
    idle = GrpoConfig(backend="tinker").idle()
    assert {"lora_alpha", "lora_target", "device", "save_steps"} <= set(idle)
    assert "lora_r" not in idle
    assert "tinker_url" in GrpoConfig().idle()


def test_local_runs_keep_the_identity_that_they_had():
    assert not {"backend", "tinker_url", "tinker_weights"} & set(GrpoConfig().identity())
    assert GrpoConfig(backend="tinker").identity()["backend"] == "tinker"


@pytest.fixture
def made(tmp_path):
    """A draft, a backend in torch, and what batches are made of: two problems, groups of four."""
    config = GrpoConfig(
        backend="tinker",
        data="demo://problems?split=train&size=5",
        reward=("gsm8k-tiered",),
        prompts_per_step=2,
        num_generations=4,
        batch_size=4,
        max_completion_length=12,
        eval=False,
        output_dir=str(tmp_path / "run"),
    )
    given = prepare(config)
    with draft(tmp_path / "run", config, Invocation("tools-grpo", "0"), "grpo") as run:
        backend = TorchBackend()
        yield (
            backend,
            lambda: GroupBatches(
                run,
                config,
                backend,
                prompts_by_text(given),
                training_rows(given.rows),
                Judge(given.rewards, given.rows),
            ),
            run,
        )


def test_batch_is_what_the_ledger_says_and_trainer_and_sampler_agree(made):
    backend, batches_of, run = made
    batch = batches_of()(0)
    rollouts = [json.loads(line) for line in (run.path / "rollouts/step-000000.jsonl").read_text().splitlines()]
    assert len(batch.rows) == len(rollouts) == 8
    n_tokens = sum(one["n_tokens"] for one in rollouts)
    for row, one in zip(batch.rows, rollouts, strict=True):
        assert list(row.token_ids[-one["n_tokens"] :]) == one["token_ids"]
        learned = row.weights[-one["n_tokens"] :]
        assert learned == pytest.approx([one["advantage"] / n_tokens] * one["n_tokens"])
        assert not any(row.weights[: -one["n_tokens"]])
    result = backend.update(batch.rows, batch.loss, Update(0.0))
    assert off_policy(batch, result.logprobs)["sampling/logp_difference"] < 1e-4
    assert batch.metrics["completions/mean_length"] == n_tokens / 8


def test_rollouts_of_a_step_that_was_not_made_are_used_again(made):
    backend, batches_of, run = made
    before = batches_of()(0)
    backend.update(before.rows, before.loss, Update(0.05))  # other weights, and the process dies before it is noted
    backend.step = 0
    assert batches_of()(0) == before
    prompts = [json.loads(line) for line in (run.path / "prompts.jsonl").read_text().splitlines()]
    assert {row["attempts"] for row in prompts} == {4}
    backend.step = 1
    batches_of()
    assert not (run.path / "rollouts/step-000002.jsonl").exists()
