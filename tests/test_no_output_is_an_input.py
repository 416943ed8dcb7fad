"""No command of any tool writes over what it reads: every option that names a file to write is tried on an input."""

import importlib

import click
import pytest
from click.testing import CliRunner

ROWS = '{"question": "A box has 4 rows of 3 tins. How many tins?", "answer": "4 rows of 3.\\n#### 12"}\n'
WRITES = ("--output-path", "--removed-path", "--matches-path", "--output-file", "--output")
CASES = {
    "dedup run --output-path": "--train-path {data} --output-path {data}",
    "dedup run --removed-path": "--train-path {data} --output-path {other} --removed-path {data}",
    "dedup run --matches-path": "--train-path {data} --output-path {other} --matches-path {data}",
    "dedup merge --output-path": "{data} {data} --output-path {data}",
    "dedup rethreshold --output-path": "--run-path {data} --output-path {data}",
    "dedup rethreshold --removed-path": "--run-path {data} --output-path {other} --removed-path {data}",
    "dedup rethreshold --matches-path": "--run-path {data} --output-path {other} --matches-path {data}",
    "dedup calibrate --output-path": "--pairs-path {data} --output-path {data}",
    "scorer extract --output-dir": "--data {data} --output-dir {data}",
    "scorer preprocess --output-dir": "--data {data} --output-dir {data}",
    "scorer score --output-file": "--input {data} --output-file {data}",
    "bench evaluate --output-file": "--eval-file {data} --output-dir {other} --output-file {data}",
    "bench report --output-file": "{folder} --output-file {data}",
    "bench tag --output-file": "--data {data} --output-file {data} --overwrite",
}


def commands(command, path):
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from commands(one, f"{path} {name}")


def test_every_option_that_names_a_file_to_write_is_tried():
    tools = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
    found = {
        f"{path} {option}"
        for tool in tools
        for path, command in commands(importlib.import_module(f"tools_{tool}.cli").main, tool)
        for parameter in command.params
        for option in parameter.opts
        if option in WRITES
    }
    assert found | {"scorer extract --output-dir", "scorer preprocess --output-dir"} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_an_input_stays_as_it_is(tmp_path, case):
    data = tmp_path / "data.jsonl"
    data.write_text(ROWS)
    tool, command, _ = case.split(" ")
    words = CASES[case].format(data=data, other=tmp_path / "other", folder=tmp_path).split()
    main = importlib.import_module(f"tools_{tool}.cli").main
    done = CliRunner().invoke(main, [command, *words])
    assert done.exit_code != 0
    assert data.read_text() == ROWS
