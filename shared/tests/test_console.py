import ast
import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tools_shared.cli import ToolCommand, ToolGroup
from tools_shared.console import printable, say, show, show_json
from tools_shared.errors import ToolError

PACKAGES = [p for p in Path(__file__).parents[2].glob("**/src/tools_*") if p.is_dir()]
TITLE = "\x1b]0;PWNED\x07\x1b[31m"
TURNED = "abc\u202egnp.exe\u2066"


@click.group(cls=ToolGroup)
def tool():
    pass


@tool.command()
@click.argument("words", nargs=-1)
@click.option("--size", type=int)
def fail(words, size):
    say(f"working on {words[0]}")
    show(words[0])
    raise ToolError(f"rows.jsonl:3: no key 'question' (there is {words[0]})")


@pytest.mark.parametrize("text", [TITLE, TURNED, "a\rb", "\x9b31m", "\u2028", "\U000e0041", "\x08\x08", "\udc80"])
@pytest.mark.parametrize("args", [["fail", "{}"], ["fail", "x", "--size", "{}"], ["fail", "--{}"], ["{}"]])
def test_nothing_that_is_printed_steers_a_terminal(text, args):
    done = CliRunner().invoke(tool, [arg.format(text) for arg in args], color=True)
    assert done.exit_code in (1, 2)
    printed = done.stdout + done.stderr
    assert printable(printed) == printed
    assert "\\" in printed


def test_ordinary_text_of_any_language_stays():
    for text in ("a\tb\nc", "½ + ⅓ = ⅚", "हिन्दी", "می‌خواهم", "👩‍👩‍👧 ünïcödé", "٣ عدد", "漢字　全角", "\\x1b"):
        assert printable(text) == text


def test_json_for_programs_is_still_the_same_value(capsys):
    value = {TITLE: [TURNED, "½\x9b\U000e0041"], "n": 0.1}
    show_json(value)
    line = capsys.readouterr().out
    assert json.loads(line) == value
    assert printable(line) == line


def test_logs_and_tracebacks_are_printable():
    program = f"""
import logging, click
from tools_shared.cli import ToolCommand
@click.command(cls=ToolCommand)
def main():
    logging.warning({TITLE!r})
    raise ZeroDivisionError({TURNED!r})
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ZeroDivisionError" in done.stderr
    assert "WARNING" in done.stderr
    assert printable(done.stderr) == done.stderr


def test_only_the_console_prints():
    """Every module prints by `tools_shared.console`: a call of print, click.echo or a stream's write is found here.

    What runs in a sandbox has no other way than its streams, which are read outside.
    """
    found = []
    for path in (
        p for package in PACKAGES for p in package.rglob("*.py") if p.parent.name not in ("console", "sandbox")
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "print",
                "click.echo",
                "click.secho",
                "sys.stdout.write",
                "sys.stderr.write",
            ):
                found.append(f"{path}:{node.lineno}")
    assert len(PACKAGES) == 7
    assert not found


def test_a_command_is_one_of_ours():
    assert issubclass(ToolGroup.command_class, ToolCommand)


PROGRAM = """
import sys, time
from tools_shared.console import progress, say
with progress(total=40, initial=20, label="evaluating", unit="problem", every=0.05) as bar:
    time.sleep(1)
    bar.update(10)
    bar.note("loss 0.3")
    say("a line")
    time.sleep(1)
print(sum(progress(range(5), label="counting")), bar.line())
"""


def test_progress_without_a_terminal_is_a_line_now_and_then_also_while_nothing_is_finished():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert any(line.startswith("evaluating: 20 of 40 problems, 00:0") for line in lines)
    assert any(line.startswith("evaluating: 30 of 40 problems") and line.endswith("loss 0.3") for line in lines)
    assert "a line" in lines
    assert "\r" not in done.stderr
    assert done.stdout.startswith("10 evaluating: 30 of 40 problems")


def test_progress_on_a_terminal_is_a_bar_with_the_time_left_below_what_is_said():
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.DEVNULL, stderr=terminal):
        os.close(terminal)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(controller, 4096):
                seen += part
    os.close(controller)
    assert b"evaluating:" in seen
    assert b"30/40" in seen
    assert b"a line\r\n" in seen


TABLE = """
from tools_shared.console import say, show
say("warning: one thing")
show("run   accuracy  n\\nbase  54.2 %    512\\nown   60.1 %    512  improved \\x1b[31m")
"""


def on_a_terminal(program, **more):
    controller, terminal = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", program], stdout=terminal, stderr=terminal, env=os.environ | more):
        os.close(terminal)
        seen = b""
        with contextlib.suppress(OSError):  # the terminal's end
            while part := os.read(controller, 4096):
                seen += part
    os.close(controller)
    return seen.decode()


def test_a_terminal_has_colours_of_ours_alone_and_none_where_they_are_not_wanted():
    seen = on_a_terminal(TABLE)
    assert "\x1b[31m\x1b[1mwarning\x1b[0m: one thing" in seen
    assert "\x1b[4mrun   accuracy  n\x1b[0m" in seen
    assert "\x1b[32mimproved\x1b[0m \\x1b[31m" in seen  # the text's own is shown, not obeyed
    assert "\x1b" not in on_a_terminal(TABLE, NO_COLOR="1")
    plain = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True)
    assert "\x1b" not in plain.stdout + plain.stderr
