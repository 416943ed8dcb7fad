"""What every package promises: a version, a changelog that knows it, a README, a range on the core, help for all."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tools_shared.config.environment import EnvironmentOption
from tools_shared.config.spellings import spellings

ROOT = Path(__file__).parents[1]
TOOLS = ["dedup", "sft", "grpo", "traces", "scorer", "bench"]
PACKAGES = {"shared": ROOT / "shared"} | {tool: ROOT / "tools" / tool for tool in TOOLS}


def metadata(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", PACKAGES)
def test_version_changelog_and_readme_agree(name):
    folder = PACKAGES[name]
    version = importlib.import_module(f"tools_{name}").__version__
    assert re.search(rf"^## {re.escape(version)}\b", (folder / "CHANGELOG.md").read_text(), re.MULTILINE)
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# tools-{name}\n")
    assert len(readme.split()) > 20


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_names_its_range_of_the_core_and_no_other_tool(tool):
    project = metadata(PACKAGES[tool])
    (core,) = [d for d in project["dependencies"] if d.startswith("tools-")]
    assert re.fullmatch(r"tools-shared(\[[a-z,]+\])?>=0\.2,<0\.3", core)
    assert project["scripts"] == {f"tools-{tool}": f"tools_{tool}.cli:main"}
    sources = (PACKAGES[tool] / "src").rglob("*.py")
    others = "|".join(other for other in TOOLS if other != tool)
    assert not [p for p in sources if re.search(rf"(from|import) tools_({others})\b", p.read_text())]


def commands(command: click.Command, name: str):
    yield name, command
    for child, sub in getattr(command, "commands", {}).items():
        yield from commands(sub, f"{name} {child}")


EVERY_COMMAND = [
    pytest.param(command, id=name)
    for tool in TOOLS
    for name, command in commands(importlib.import_module(f"tools_{tool}.cli").main, f"tools-{tool}")
]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_every_command_and_option_has_help(command):
    assert command.help
    assert not [p.name for p in command.params if isinstance(p, click.Option) and not p.help]


COLUMNS, LINES = 100, 45


def shown(command: click.Command, *args: str) -> str:
    return CliRunner().invoke(command, args, terminal_width=COLUMNS, catch_exceptions=False).output


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_the_first_screen_of_help_fits_a_screen(command):
    first = shown(command, "--help")
    assert len(first.splitlines()) <= LINES
    assert max(map(len, first.splitlines())) <= COLUMNS + 20  # an example is one line, to be copied
    assert shown(command, "-h") == first


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_the_whole_help_has_every_option_with_its_variable(command):
    options = [p for p in command.params if isinstance(p, EnvironmentOption)]
    whole = shown(command, "--help-all" if not all(o.basic for o in options) else "--help")
    options = [o for o in options if not o.hidden]
    missing = [o.opts[0] for o in options if not re.search(rf"^  {o.opts[0]}\b", whole, re.MULTILINE)]
    assert not missing
    if "--help-all" in shown(command, "--help"):
        unbroken = re.sub(r"\s+", "", whole)
        assert not [name for o in options for name in o.shown_names if name not in unbroken]


# One spelling a concept: what it is called in every command that has it, and what else people type for it.
CONCEPTS = {
    "base_model": {"sft train", "grpo"},
    "model": {"traces", "bench evaluate", "bench run", "dedup run", "dedup calibrate", "scorer preprocess",
              "scorer extract", "scorer score", "scorer serve"},
    "data": {"sft train", "grpo train", "traces", "bench run", "bench tag", "dedup run", "dedup calibrate",
             "scorer preprocess", "scorer extract", "scorer train", "scorer score", "scorer evaluate"},
    "eval_data": {"sft train", "grpo train", "bench evaluate"},
    "output_dir": {"sft train", "grpo train", "traces", "traces merge", "bench evaluate", "bench run", "bench compare",
                   "bench budget", "bench rescore", "scorer preprocess", "scorer extract", "scorer train",
                   "scorer evaluate"},
    "dtype": {"sft train", "grpo train", "traces", "bench evaluate", "bench run", "dedup run", "dedup calibrate",
              "scorer extract", "scorer train"},
}  # fmt: skip
TYPED = [
    ("sft train", "--train-path", "data"), ("sft train", "--train-file", "data"),
    ("sft train", "--eval-path", "eval_data"),
    ("sft train", "--eval_file", "eval_data"), ("sft train", "--model_name_or_path", "base_model"),
    ("sft train", "--model", "base_model"),
    ("sft train", "--learning_rate", "learning_rate"), ("sft train", "--lr", "learning_rate"),
    ("sft train", "--num_train_epochs", "epochs"), ("sft train", "--num-epochs", "epochs"),
    ("sft train", "--precision", "dtype"),
    ("sft train", "--per_device_train_batch_size", "batch_size"), ("sft train", "--torch_dtype", "dtype"),
    ("sft train", "--gradient_accumulation_steps", "gradient_accumulation"), ("sft train", "--dataset_name", "data"),
    ("sft train", "--max_seq_length", "max_length"), ("sft train", "--lora_rank", "lora_r"),
    ("sft train", "--lora_target_modules", "lora_target"), ("sft train", "--lr_scheduler_type", "lr_scheduler"),
    ("sft train", "--attn_implementation", "attention"), ("sft train", "--output_dir", "output_dir"),
    ("grpo train", "--train-path", "data"), ("grpo train", "--reward_funcs", "reward"),
    ("grpo train", "--loss_type", "loss"), ("grpo train", "--max_new_tokens", "max_completion_length"),
    ("grpo train", "--importance_sampling_level", "importance_sampling"),
    ("grpo train", "--vllm_gpu_memory_utilization", "gpu_memory_utilization"),
    ("traces", "--grpo-model", "model"), ("traces", "--base-model", "model"), ("traces", "--train-path", "data"),
    ("traces", "--max_tokens", "max_new_tokens"), ("traces", "--limit", "num_samples"),
    ("bench evaluate", "--model-path", "model"), ("bench evaluate", "--base-model", "model"),
    ("bench evaluate", "--eval-path", "eval_data"), ("bench evaluate", "--temperature", "eval_temperature"),
    ("bench run", "--model-path", "model"), ("bench run", "--datasets", "data"),
    ("bench run", "--batch-size", "concurrency"), ("bench run", "--max-tokens", "max_new_tokens"),
    ("bench run", "--base_url", "endpoint"), ("bench tag", "--input", "data"), ("bench tag", "--output", "output_file"),
    ("dedup run", "--train-path", "data"), ("dedup run", "--test-path", "test_data"),
    ("dedup run", "--train_goal_key", "train_goal_key"), ("dedup calibrate", "--background-path", "data"),
    ("scorer preprocess", "--input_file", "data"), ("scorer preprocess", "--output_file", "output_dir"),
    ("scorer preprocess", "--tokenizer_path", "model"), ("scorer extract", "--model_name", "model"),
    ("scorer extract", "--input_path", "data"), ("scorer extract", "--output_path", "output_dir"),
    ("scorer extract", "--start_idx", "start_idx"), ("scorer train", "--train_dir", "data"),
    ("scorer train", "--step_sample_ratio", "step_sample_ratio"), ("scorer train", "--precision", "dtype"),
    ("scorer score", "--input", "data"), ("scorer evaluate", "--train-dir", "data"),
    ("scorer serve", "--model-name", "model"),
]  # fmt: skip
VALUES = {"dtype": "bfloat16", "loss": "dapo", "importance_sampling": "token", "lr_scheduler": "linear",
          "attention": "sdpa", "api": "openai"}  # fmt: skip
BY_NAME = {str(param.id).removeprefix("tools-"): param.values[0] for param in EVERY_COMMAND}


def options(command: click.Command) -> dict[str, EnvironmentOption]:
    return {str(p.name): p for p in command.params if isinstance(p, EnvironmentOption)}


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_concept_has_one_spelling_in_every_command(concept):
    here = {name for name, command in BY_NAME.items() if concept in options(command)}
    assert here >= {name if name != "grpo" else "grpo train" for name in CONCEPTS[concept]}
    assert {options(BY_NAME[name])[concept].opts[0] for name in here} == {"--" + concept.replace("_", "-")}
    formats = [c.type.choices for n in here if isinstance((c := options(BY_NAME[n])[concept]).type, click.Choice)]
    assert concept != "dtype" or {one for choices in formats for one in choices} <= {"auto", "fp32", "bf16", "fp16"}


@pytest.mark.parametrize(("name", "typed", "field"), TYPED)
def test_what_people_type_means_our_option(name, typed, field):
    command, kind = BY_NAME[name], options(BY_NAME[name])[field].type
    number = {"integer": "7", "float": "0.25"}.get(kind.name, "x")
    value = VALUES.get(field, number)
    with command.make_context(name, [f"{typed}={value}"], resilient_parsing=False) as ctx:
        given = ctx.params[field]
    ours = {"dtype": "bf16"}.get(field, value)
    assert str(given[0] if isinstance(given, tuple) else given) == ours
    if typed not in options(command)[field].opts:
        assert not re.search(rf"^ +{typed}[ ,]", shown(command, "--help-all"), re.MULTILINE), "an alias stays hidden"


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("sft train", "--use_peft", "--full-finetune"),
        ("sft train", "--bf16", "--dtype bf16"),
        ("grpo train", "--use_vllm", "--engine vllm"),
        ("grpo train", "--gradient_accumulation_steps", "--prompts-per-step"),
        ("sft train", "--warmup_steps", "--warmup-ratio"),
        ("bench run", "--tasks=gsm8k", None),
        ("sft train", "--lerning-rate", "--learning-rate"),
    ],
)
def test_an_option_of_another_program_is_answered_with_ours(name, typed, said):
    result = CliRunner().invoke(BY_NAME[name], [typed])
    assert result.exit_code in (1, 2)
    assert said is None or said in result.stderr


@pytest.mark.parametrize("name", BY_NAME)
def test_no_spelling_means_two_options_and_none_changes_a_choice(name):
    command = BY_NAME[name]
    other = spellings(command.params)
    flags = {flag.lstrip("-") for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    assert not flags & set(other)
    assert set(other.values()) <= flags | {"fp32", "bf16", "fp16", "loss", "accuracy"}
    choices = {c for p in command.params if isinstance(p.type, click.Choice) for c in p.type.choices}
    assert not choices & set(other)


def test_every_make_target_is_in_its_help():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {word for line in targets for word in line.split() if "$" not in word} - {"FORCE"}
    assert not [target for target in named if not re.search(rf"^ +{re.escape(target)}\b", shown, re.MULTILINE)]


def test_pins_are_plain_versions():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
