"""No environment variable is ignored in silence, in any command of any tool."""

import importlib
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tools_shared.config.environment import TOOLS, VARIABLES, EnvironmentOption

ROOT = Path(__file__).parents[2]


def commands_of(tool):
    """Every command of a tool that can be run: the words that call it, and itself."""

    def walk(command, words):
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield words, command
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*words, name])

    return list(walk(importlib.import_module(f"tools_{tool}.cli").main, []))


COMMANDS = [
    pytest.param(tool, words, command, id=" ".join([tool, *words]))
    for tool in TOOLS
    for words, command in commands_of(tool)
]


def run(tool, words, **env):
    main = importlib.import_module(f"tools_{tool}.cli").main
    return CliRunner().invoke(main, words, env=env)


def arguments(command, tmp_path):
    """Something for each argument and required option, so that the command is reached."""
    (tmp_path / "file").write_text("x\n")
    words = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            known = getattr(parameter.type, "choices", (str(tmp_path / "file"),))
            words += [known[0]] * (2 if parameter.nargs == -1 else parameter.nargs)
        elif parameter.required:
            words += [parameter.opts[0], str(tmp_path / "file")]
    return words


def test_the_tools_are_those_of_the_workspace():
    assert set(TOOLS) == {path.parent.name for path in (ROOT / "tools").glob("*/pyproject.toml")}


@pytest.mark.parametrize(("tool", "words", "command"), COMMANDS)
def test_a_mistyped_name_is_refused_by_every_command(tool, words, command, tmp_path):
    known = [n for p in command.params for n in (p.envvar or ()) if n.startswith("TOOLS_")] or [
        f"TOOLS_{tool}_X".upper()
    ]
    wrong = known[0] + "S"
    done = run(tool, [*words, *arguments(command, tmp_path)], **{wrong: "1"})
    assert done.exit_code == 1, done.output
    assert f"the environment variable {wrong} is not an option of tools-{tool}" in done.output
    assert len(done.output.strip().splitlines()) == 1
    if len(known) > 1:
        assert f"did you mean '{known[0]}'" in done.output


@pytest.mark.parametrize(("tool", "words", "command"), COMMANDS)
def test_a_value_that_cannot_be_names_the_variable_in_every_command(tool, words, command, tmp_path):
    tried = 0
    for option in command.params:
        if not isinstance(option, EnvironmentOption) or not isinstance(
            option.type, click.types.IntParamType | click.Choice
        ):
            continue
        for name in option.envvar:
            done = run(tool, [*words, *arguments(command, tmp_path)], **{name: "1e3"})
            assert done.exit_code == 2, done.output
            assert f"Invalid value for the environment variable {name}" in done.output
            assert f"'{option.opts[0]}'" not in done.output
            tried += 1
        if tried > 3:
            break
    generated = [o for o in command.params if o.envvar]
    assert all(isinstance(option, EnvironmentOption) for option in generated)


@pytest.mark.parametrize(("tool", "words", "command"), COMMANDS)
@pytest.mark.parametrize("name", ["TOOLS_DEVICE", "TOOLS_LOG_LEVEL"])
def test_a_device_or_level_that_is_none_is_refused_by_every_command(tool, words, command, name, tmp_path):
    done = run(tool, [*words, *arguments(command, tmp_path)], **{name: "potato"})
    assert done.exit_code == 1, done.output
    assert f"the environment variable {name} must be one of" in done.output
    assert "'potato'" in done.output


def test_every_variable_that_is_read_is_known():
    read = re.compile(r"(?:environ|getenv|value_of)\W[^\n]*?[\"'](TOOLS_[A-Z_]+)")
    sources = [*(ROOT / "shared/src").rglob("*.py"), *(ROOT / "tools").glob("*/src/**/*.py")]
    names = {name for path in sources for name in read.findall(path.read_text(encoding="utf-8"))}
    assert names
    assert names <= set(VARIABLES)
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in [*ROOT.glob("*.yaml"), *(ROOT / "docker").glob("*")]
        if path.is_file()
    )
    options = {
        name for tool in TOOLS for _, command in commands_of(tool) for o in command.params for name in o.envvar or ()
    }
    assert set(re.findall(r"TOOLS_[A-Z_]+", text)) <= set(VARIABLES) | options


def test_a_name_of_another_command_or_another_tool_is_fine_and_a_stray_one_is_said(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "How long is 3 m and 4 m?", "answer": "3 + 4 = 7\\n#### 7"}\n')
    words = ["--train-file", str(tmp_path / "rows.jsonl"), "--no-eval", "--dry-run"]
    done = run("sft", words, TOOLS_GRPO_NO_SUCH="1", TOOLS_LERNING_RATE="3")
    assert done.exit_code == 0, done.output
    assert "warning: no tool reads the environment variable TOOLS_LERNING_RATE" in done.output
    assert "TOOLS_GRPO_NO_SUCH" not in done.output
    other = run("bench", ["evaluate", "--model-path", "/no/model"], TOOLS_BENCH_JUDGE_MODEL="gpt")
    assert "not an option" not in other.output


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TRAIN_SAMPLES", "-3", "--train-samples must be at least 1, got -3"),
        ("TOOLS_SFT_LEARNING_RATE", "-1", "--learning-rate must be at least 0, got -1.0"),
        ("TOOLS_SFT_MAX_STEPS", "0", "--max-steps must be at least 1"),
        ("TOOLS_SFT_TEMPERATURE", "2", "--temperature is for --objective distill"),
    ],
)
def test_an_error_about_a_value_from_the_environment_says_so(name, value, words):
    done = run("sft", ["--no-eval", "--dry-run"], **{name: value})
    assert done.exit_code == 1
    assert words in done.output
    assert f"is set by the environment variable {name}" in done.output
