"""Options that decide nothing are refused where they were typed, and said where they came from elsewhere."""

import importlib
import json
from dataclasses import fields

import pytest
from click.testing import CliRunner

from tools_shared.config import Config
from tools_shared.config.environment import TOOLS
from tools_shared.errors import ToolError
from tools_shared.training.trainable import LoraOptions, settled


def run(tool, *args, **env):
    main = importlib.import_module(f"tools_{tool}.cli").main
    return CliRunner().invoke(main, [*map(str, args), "--no-eval", "--dry-run"], env=env)


@pytest.mark.parametrize(
    ("tool", "args", "message"),
    [
        ("sft", ["--stage", "prep", "--train-samples", 9], "--train-samples has no effect with --stage prep"),
        ("sft", ["--prep-train-samples", 9], "--prep-train-samples has no effect with --stage full"),
        (
            "sft",
            ["--train-path", "x.jsonl", "--traces-file", "y.jsonl"],
            "--data has no effect with --traces-file",
        ),
        ("sft", ["--max-completion-length", 9], "--max-completion-length has no effect without --on-policy"),
        (
            "sft",
            ["--lr-scheduler", "constant", "--warmup-ratio", 0.1],
            "--warmup-ratio has no effect with --lr-scheduler",
        ),
        ("sft", ["--epochs", 2, "--max-steps", 3], "--epochs has no effect with --max-steps"),
        ("sft", ["--full-finetune", "--lora-r", 4], "--lora-r has no effect with --full-finetune"),
        ("sft", ["--full-finetune", "--lora-target", "q_proj"], "--lora-target has no effect with --full-finetune"),
        ("grpo", ["--full-finetune", "--lora-alpha", 4], "--lora-alpha has no effect with --full-finetune"),
        (
            "grpo",
            ["--gpu-memory-utilization", 0.5],
            "--gpu-memory-utilization has no effect with --engine transformers",
        ),
        ("grpo", ["--api-key-env", "KEY"], "--api-key-env has no effect with --engine transformers"),
        ("grpo", ["--guard-steps", 0, "--max-truncated", 0.5], "--max-truncated has no effect with --guard-steps 0"),
    ],
)
def test_an_option_without_effect_is_refused(tool, args, message):
    done = run(tool, *args)
    assert done.exit_code == 1, done.output
    assert message in done.output


def test_one_from_the_environment_or_a_file_is_said(tmp_path):
    (tmp_path / "sft.yaml").write_text("lora_r: 4\nfull_finetune: true\nwarmup_ratio: 0.05\nlr_scheduler: constant\n")
    done = run("sft", "--config", tmp_path / "sft.yaml", TRAIN_SAMPLES="8", PREP_TRAIN_SAMPLES="3")
    assert done.exit_code == 0, done.output
    assert "note: --prep-train-samples, from the environment, has no effect with --stage full" in done.output
    assert "note: --lora-r, from the configuration file, has no effect with --full-finetune" in done.output
    assert "--train-samples, from" not in done.output
    assert "--warmup-ratio, from" not in done.output, "the default's value does no harm"


def configurations(of=Config):
    for tool in TOOLS:
        importlib.import_module(f"tools_{tool}.cli")
    for child in of.__subclasses__():
        yield child
        yield from configurations(child)


def test_every_configuration_names_fields_of_its_own():
    tried = 0
    for one in {found for found in configurations() if found.TOOL}:
        try:
            config = one()
        except (TypeError, ToolError):
            continue  # has options without which it cannot be
        assert set(config.idle()) <= {field.name for field in fields(one)}
        tried += 1
    assert tried > 4


@pytest.fixture
def adapter(tmp_path):
    """An adapter of another rank than the default, as its configuration alone."""
    own = {"r": 16, "lora_alpha": 48, "lora_dropout": 0.1, "target_modules": ["v_proj", "q_proj"], "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(own | {"base_model_name_or_path": "demo"}))
    return tmp_path


def test_a_continued_adapter_s_own_settings_are_recorded(adapter):
    found = settled(LoraOptions(), str(adapter), {})
    assert (found.lora_r, found.lora_alpha, found.lora_dropout, found.lora_target) == (
        16,
        48,
        0.1,
        ("q_proj", "v_proj"),
    )
    assert settled(found, str(adapter), dict.fromkeys(("lora_r", "lora_target"), "file")) == found
    for other in (LoraOptions(adapter="new"), LoraOptions(adapter="merge"), LoraOptions(full_finetune=True)):
        assert settled(other, str(adapter), {"lora_r": "flag"}) == other
    assert settled(LoraOptions(lora_r=3), "demo", {"lora_r": "flag"}).lora_r == 3


@pytest.mark.parametrize("origin", ["flag", "environment", "file"])
@pytest.mark.parametrize(
    ("name", "value", "own"),
    [
        ("lora_r", 8, "16"),
        ("lora_alpha", 2, "48"),
        ("lora_dropout", 0.5, "0.1"),
        ("lora_target", ("k_proj",), "q_proj v_proj"),
    ],
)
def test_another_setting_than_the_continued_adapter_has_is_refused(adapter, name, value, own, origin):
    with pytest.raises(ToolError, match=rf"--{name.replace('_', '-')} has no effect on the adapter of .* has {own};"):
        settled(LoraOptions(**{name: value}), str(adapter), {name: origin})


@pytest.mark.parametrize("tool", ["sft", "grpo"])
def test_the_commands_refuse_it_before_anything_is_loaded(adapter, tool):
    done = run(tool, "--base-model", adapter, "--lora-r", 32)
    assert done.exit_code == 1
    assert "--lora-r has no effect on the adapter of" in done.output
