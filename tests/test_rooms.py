"""The rooms of the house: what may be on a package's ground, which floor a room is on, and no circle of imports."""

import ast
import importlib
import re
import sys
from pathlib import Path

import click
import pytest
from structure import House

ROOT = Path(__file__).parents[1]
TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
CORE_GROUND = {"__init__", "addresses", "cli", "console", "devices", "errors", "names", "records"}
LIGHT = ("answers", "config", "files", "prompts", "rewards", "runs", "sources", "stats", *CORE_GROUND)
"""The core's rooms that work without torch; the other rooms, with models in them, are above."""
HEAVY = {"torch", "transformers", "peft", "trl", "accelerate", "vllm", "datasets"}


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


def commands_of(tool: str) -> set[str]:
    main = importlib.import_module(f"tools_{tool}.cli").main
    words = main.commands if isinstance(main, click.Group) else {main.name or tool: main}
    return {word.replace("-", "_") for word in words}


def ground(package: str, house: House) -> set[str]:
    """The modules on a package's ground, rooms left out."""
    inside = {name.removeprefix(f"{package}.") for name in house.paths if name.startswith(f"{package}.")}
    return {name for name in inside if "." not in name and f"{package}.{name}" not in house.packages}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_ground_has_its_commands_and_nothing_else(house, tool):
    here = ground(f"tools_{tool}", house)
    verbs = {"sft": {"train", "trainer"}, "grpo": {"trainer"}, "traces": {"sample", "merge"}}.get(tool, set())
    assert here - {"__main__", "cli", "config"} <= commands_of(tool) | verbs
    assert len(here) < 12


def test_the_cores_ground_is_what_the_layout_says(house):
    assert ground("tools_shared", house) <= CORE_GROUND


def test_no_circle_of_imports(house):
    """Imports in functions and for types count: a circle of knowledge is one wherever the import is written."""
    assert house.circles() == []


def test_the_light_floor_knows_nothing_of_the_floor_above(house):
    for module, others in house.imports.items():
        room = module.removeprefix("tools_shared.").partition(".")[0]
        if module.startswith("tools_shared.") and room in LIGHT:
            above = {o for o in others if o.removeprefix("tools_shared.").partition(".")[0] not in LIGHT}
            print(module, above)


def test_the_light_floor_imports_no_torch_with_its_modules(house):
    for module, tree in house.trees.items():
        print(module) if module.startswith("tools_shared.") and heavy(tree) else None


def heavy(tree):
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names & HEAVY


def test_every_module_of_the_core_serves_two_tools(house):
    reached = {}
    for tool in TOOLS:
        for name in [n for n in house.paths if n.startswith(f"tools_{tool}")]:
            for other in house.reach(name):
                reached.setdefault(other, set()).add(tool)
    for m in house.paths:
        if m.startswith("tools_shared.") and m not in house.faces and len(reached.get(m, ())) < 2:
            print(m, reached.get(m))
