"""Advantages and token weights that a service is sent, against TRL's formulas written in torch; options that it cannot
follow."""

import math

import pytest
import torch

from tools_grpo.config import GrpoConfig
from tools_grpo.remote.advantages import advantages_of, token_shares
from tools_shared.errors import ToolError

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
