"""No option's value is dropped silently: what takes one value is refused when it is given twice, in every command."""

import importlib

import click
import pytest
from click.testing import CliRunner

TOOLS = ("bench", "dedup", "grpo", "scorer", "sft", "traces")


def commands(command: click.Command, words: tuple[str, ...]):
    """Every command below a tool with the words that call it."""
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from commands(sub, (*words, name))
        if not command.invoke_without_command:
            return
    yield words, command


ALL = [
    pytest.param(main, words, command, id=" ".join((tool, *words)))
    for tool in TOOLS
    for main in [importlib.import_module(f"tools_{tool}.cli").main]
    for words, command in commands(main, ())
]


def scalar_options(command: click.Command) -> list[click.Option]:
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in ("help", "version")]
    assert options
    return [option for option in options if not option.multiple]


def spellings(option: click.Option) -> list[tuple[str, str]]:
    """Pairs of ways to give an option twice: the same spelling, and each of its others beside the first."""
    ways = [*option.opts, *option.secondary_opts]
    return [(ways[0], way) for way in ways]


def word_for(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return str(option.type.choices[0])
    return "1"


@pytest.mark.parametrize(("main", "words", "command"), ALL)
def test_an_option_that_takes_one_value_is_refused_when_given_twice(main, words, command):
    for option in scalar_options(command):
        for first, second in spellings(option):
            value = [] if option.is_flag else [word_for(option)]
            done = CliRunner().invoke(main, [*words, first, *value, second, *value])
            assert done.exit_code == 2, (first, second, done.output)
            assert f"{option.opts[0]} is given twice ({first} and {second})" in done.output
            assert len(done.output.splitlines()) == 1, done.output


@pytest.mark.parametrize(("main", "words", "command"), ALL)
def test_with_equals_signs_too(main, words, command):
    for option in scalar_options(command):
        if not option.is_flag:
            name, value = option.opts[0], word_for(option)
            done = CliRunner().invoke(main, [*words, f"{name}={value}", f"{name}={value}"])
            assert done.exit_code == 2
            assert f"{name} is given twice" in done.output
