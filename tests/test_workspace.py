"""What every package promises: a version, a changelog that knows it, a README, a range on the core, help for all."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

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
    assert re.fullmatch(r"tools-shared(\[[a-z,]+\])?>=0\.1,<0\.2", core)
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


def test_every_make_target_is_in_its_help():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {word for line in targets for word in line.split() if "$" not in word} - {"FORCE"}
    assert not [target for target in named if not re.search(rf"^ +{re.escape(target)}\b", shown, re.MULTILINE)]


def test_pins_are_plain_versions():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
