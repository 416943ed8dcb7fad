import errno
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar, Literal

import click
import pytest
from click.testing import CliRunner

from tools_shared.cli import ToolCommand, config_options, resolve
from tools_shared.config import Config, option, read_yaml
from tools_shared.errors import Incomplete, ToolError


@dataclass(frozen=True)
class PaintConfig(Config):
    TOOL: ClassVar[str] = "paint"

    coats: int = option(1, "How many coats.", env="COATS", aliases=("num_coats",), minimum=1, maximum=9)
    colour: Literal["red", "blue"] = option("red", "Which colour.")
    rooms: tuple[str, ...] = option((), "Which rooms.")
    litres: float | None = option(None, "How much paint.")
    primer: bool = option(True, "Whether to prime first.", identity=False)
    ladder: str | None = option(None, "Which ladder.", aliases=("steps",))
    resume: Literal["auto", "never"] = option("auto", "Go on.", flag_value="auto")


@click.command(cls=ToolCommand)
@config_options(PaintConfig)
def paint(as_json, **options):
    config, invocation = resolve(PaintConfig, options, "1.0")
    click.echo(json.dumps({"values": config.to_dict(), "origins": dict(invocation.origins)}))


def run(*args, **env):
    return CliRunner().invoke(paint, args, env=env, catch_exceptions=False)


def values(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_flag_over_environment_over_file_over_default(tmp_path):
    file = tmp_path / "paint.yaml"
    file.write_text("coats: 3\n")
    read = [
        values(run()),
        values(run("--config", str(file))),
        values(run("--config", str(file), COATS="4")),
        values(run("--config", str(file), "--coats", "5", COATS="4")),
    ]
    assert [(r["values"]["coats"], r["origins"]["coats"]) for r in read] == [
        (1, "default"),
        (3, "file"),
        (4, "environment"),
        (5, "flag"),
    ]


def test_generated_environment_name_works_beside_the_known_one():
    assert values(run(TOOLS_PAINT_COATS="7"))["values"]["coats"] == 7
    assert values(run(TOOLS_PAINT_COLOUR="blue"))["values"]["colour"] == "blue"


def test_options_of_every_kind():
    read = values(run("--rooms", "hall", "--rooms", "attic", "--no-primer", "--steps", "A", "--resume"))["values"]
    assert read == {
        "coats": 1,
        "colour": "red",
        "rooms": ["hall", "attic"],
        "litres": None,
        "primer": False,
        "ladder": "A",
        "resume": "auto",
    }


def test_other_spellings_mean_the_same_option_in_all_places(tmp_path):
    assert values(run("--num_coats", "3"))["values"]["coats"] == values(run("--num-coats=3"))["values"]["coats"] == 3
    assert values(run(TOOLS_PAINT_NUM_COATS="4"))["values"]["coats"] == 4
    twice = run("--steps", "A", "--ladder", "B")
    assert twice.exit_code == 2
    assert "--ladder is given twice (--steps and --ladder)" in twice.stderr
    (tmp_path / "paint.yaml").write_text("paint:\n  num-coats: 5\n")
    assert values(run("--config", str(tmp_path / "paint.yaml")))["values"]["coats"] == 5


def test_stored_options_of_an_earlier_version_have_their_names_of_today():
    assert PaintConfig.renamed({"num_coats": 2, "colour": "red"}) == {"coats": 2, "colour": "red"}


def test_file_may_be_nested_and_use_aliases(tmp_path):
    file = tmp_path / "paint.yaml"
    file.write_text("backend: local\nwalls: {colour: blue, num-coats: 2}\nrooms: [hall]\n")
    read = values(run("--config", str(file)))["values"]
    assert (read["colour"], read["coats"], read["rooms"]) == ("blue", 2, ["hall"])


def test_one_value_of_a_repeated_option_needs_no_list(tmp_path):
    (tmp_path / "paint.yaml").write_text("rooms: hall\n")
    assert values(run("--config", str(tmp_path / "paint.yaml")))["values"]["rooms"] == ["hall"]


def test_a_number_as_yaml_does_not_read_it_is_one_still(tmp_path):
    (tmp_path / "paint.yaml").write_text("walls: {litres: 1e-1, coats: '2'}\n")
    read = values(run("--config", str(tmp_path / "paint.yaml")))["values"]
    assert (read["litres"], read["coats"]) == (0.1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coat: 2", "unknown key 'coat' (did you mean 'coats'?)"),
        ("walls: {colr: red}", "unknown key 'colr'"),
        ("coats: 2\nnum_coats: 3", "paint.yaml:2: 'coats' is given twice"),
        ("coats: 2\nwalls:\n  coats: 2", "paint.yaml:3: 'coats' is given twice"),
        ("coats: 2\ncoats: 3", "paint.yaml:2: 'coats' is given twice"),
        ("coats: [1, 2]", "paint.yaml:1: 'coats' must be a whole number, got [1, 2]"),
        ("coats: true", "'coats' must be a whole number, got True"),
        ("coats: 2.5", "'coats' must be a whole number, got 2.5"),
        ("primer: 3", "'primer' must be true or false, got 3"),
        ("litres: a lot", "'litres' must be a number, got 'a lot'"),
        ("colour: [red]", "'colour' must be one of red, blue, got ['red']"),
        ("ladder: {a: b}", "'ladder' must be one value, got {'a': 'b'}"),
        ("rooms: {a: b}", "'rooms' must be a list, each one value, got {'a': 'b'}"),
        ("- 1", "expected a mapping"),
        ("coats: [", "not valid YAML"),
        ("backend: tinker", "backend 'tinker' is not available"),
    ],
)
def test_wrong_file_is_one_line_with_its_path(tmp_path, text, message):
    file = tmp_path / "paint.yaml"
    file.write_text(text)
    result = run("--config", str(file))
    assert result.exit_code == 1
    assert message in result.stderr
    assert str(file) in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ToolError, match="no such configuration file"):
        read_yaml(tmp_path / "none.yaml", PaintConfig)
    with pytest.raises(ToolError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path, PaintConfig)


@pytest.mark.parametrize(("args", "exit_code"), [(("--coats", "0"), 1), (("--coats", "x"), 2), (("--colour", "x"), 2)])
def test_wrong_value_has_its_exit_code(args, exit_code):
    result = run(*args)
    assert result.exit_code == exit_code
    assert args[0] in result.stderr


def test_bounds_hold_from_python_too():
    with pytest.raises(ToolError, match="--coats must be between 1 and 9, got 10"):
        PaintConfig(coats=10)
    with pytest.raises(ToolError, match="--colour must be one of red, blue, got 'green'"):
        PaintConfig(colour="green")
    with pytest.raises(ToolError, match="--litres must be a finite number, got inf"):
        PaintConfig(litres=float("inf"))


def test_identity_leaves_out_what_does_not_change_the_result():
    assert PaintConfig(primer=False).identity() == PaintConfig().identity()
    assert PaintConfig(coats=2).identity() != PaintConfig().identity()


def failing(error):
    @click.command(cls=ToolCommand)
    def command():
        raise error

    return CliRunner().invoke(command, [])


def test_errors_have_their_exit_codes_and_bugs_their_traceback():
    assert failing(ToolError("a\nb")).exit_code == 1
    assert failing(ToolError("a\nb")).stderr == "Error: a b\n"
    assert failing(Incomplete("later")).exit_code == 3
    interrupted = failing(KeyboardInterrupt())
    assert interrupted.exit_code == 3
    assert interrupted.stderr.startswith("Error: stopped by Ctrl-C; run the same command again")
    full = failing(OSError(errno.ENOSPC, "No space left on device", "out.bin"))
    assert full.exit_code == 3
    assert "out.bin: no space left" in full.stderr
    shut = failing(PermissionError(errno.EACCES, "Permission denied", "model.safetensors"))
    assert shut.exit_code == 1
    assert "model.safetensors: Permission denied for user" in shut.stderr
    assert isinstance(failing(KeyError("bug")).exception, KeyError)
    assert isinstance(failing(OSError(errno.EBADF, "bug")).exception, OSError)


STOPPED_WHILE_TELLING = """
import os, signal
import click
from tools_shared.cli import ToolCommand

class Told(RuntimeError):
    def __str__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return "connection closed by peer"

@click.command(cls=ToolCommand)
def tool():
    raise Told()

import tools_shared.processes as processes
processes._messages = object()
processes.end = processes.leave = lambda code: None
tool(standalone_mode=True)
"""


def test_a_sigterm_while_an_error_is_told_is_a_stop_and_no_bug():
    done = subprocess.run([sys.executable, "-c", STOPPED_WHILE_TELLING], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "Error: stopped by SIGTERM; run the same command again to resume\n"
