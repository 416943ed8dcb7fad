"""The rooms of the house: what may be on a package's ground, which floor a room is on, and no circle of imports."""

import ast
import importlib
import re
from pathlib import Path

import pytest
from structure import House

ROOT = Path(__file__).parents[1]
TOOLS = ("dedup", "sft", "grpo", "traces", "scorer", "bench")
CORE_GROUND = {"addresses", "cli", "console", "devices", "errors", "names", "records"}
LIGHT = {*CORE_GROUND, *"answers code config costs demo files processes prompts runs sandbox sources stats".split()}
"""What of the core works without torch; the rooms with models in them are above, and only they may know these."""
UNNAMED = {"sft": {"train", "trainer"}, "grpo": {"trainer"}, "traces": {"sample"}}
"""Verbs that are typed without a word, and TRL's trainers that they run."""
MAY_ASK_TORCH = {"devices", "processes"}
"""Those on the light floor that import it in functions: which device is there, and how processes meet."""
HEAVY = {"torch", "transformers", "peft", "trl", "accelerate", "vllm"}
STARTED_ALONE = {
    "answers.worker", "answers.identities", "states.connector", "engines.vllm.serve", "pruning.vllm_worker",
}  # fmt: skip
"""Modules that run in a process of their own or in vLLM's, and are named there and not imported."""
OF_ONE_TOOL = {"code", "sandbox", "rewards", "engines.vllm.server", "stats.crossed", "training.defaults"}
"""What the core holds by what it is (rewards, engines, statistics), though one tool alone asks for it by now."""


@pytest.fixture(scope="module")
def house():
    return House(ROOT)


def commands_of(tool: str) -> set[str]:
    main = importlib.import_module(f"tools_{tool}.cli").main
    return {word.replace("-", "_") for word in getattr(main, "commands", {})}


def ground(package: str, house: House) -> set[str]:
    """The modules on a package's ground, rooms left out."""
    inside = {name.removeprefix(f"{package}.") for name in house.paths if name.startswith(f"{package}.")}
    return {name for name in inside if "." not in name and f"{package}.{name}" not in house.packages}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tools_ground_has_its_commands_and_nothing_else(house, tool):
    here = ground(f"tools_{tool}", house)
    assert here - {"__main__", "cli", "config"} <= commands_of(tool) | UNNAMED.get(tool, set())
    assert len(here) < 12  # and __init__


def test_the_cores_ground_is_what_the_layout_says(house):
    assert ground("tools_shared", house) <= CORE_GROUND


def test_no_circle_of_imports(house):
    """Imports in functions and for types count: a circle of knowledge is one wherever the import is written."""
    assert house.circles() == []


def test_the_light_floor_knows_nothing_of_the_floor_above(house):
    light = {name for name in house.imports if name.startswith("tools_shared.") and room_of(name) in LIGHT}
    above = {(n, o) for n in light for o in house.imports[n] if o != "tools_shared" and room_of(o) not in LIGHT}
    assert not above
    assert not [n for n in light if HEAVY & libraries(house.trees[n]) and room_of(n) not in MAY_ASK_TORCH]


def room_of(module: str) -> str:
    return module.removeprefix("tools_shared.").partition(".")[0]


def libraries(tree: ast.Module) -> set[str]:
    """What a module imports anywhere but for types alone, by the names of the packages."""
    for_types = {id(n) for node in ast.walk(tree) if is_for_types(node) for n in ast.walk(node)}
    names = set()
    for node in (n for n in ast.walk(tree) if id(n) not in for_types):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_every_module_of_the_core_serves_two_tools(house):
    reached = {name: set() for name in house.paths}
    for tool in TOOLS:
        for name in [name for name in house.paths if name.startswith(f"tools_{tool}.")]:
            for other in house.reach(name):
                reached[other].add(tool)
    core = {name.removeprefix("tools_shared."): tools for name, tools in reached.items() if name.startswith("tools_s")}
    known = {n for n in core for held in (*OF_ONE_TOOL, *STARTED_ALONE) if n == held or n.startswith(f"{held}.")}
    faces = {name.removeprefix("tools_shared.") for name in house.faces}
    few = {n for n, t in core.items() if len(t) < 2 and f"tools_shared.{n}" in house.paths and n not in known | faces}
    assert not few


def sources_with(pattern: str) -> list[str]:
    """Files of the packages, those that are no Python too, in which the pattern occurs."""
    roots = [ROOT / "shared" / "src", *(ROOT / "tools").glob("*/src")]
    files = [path for root in roots for path in root.rglob("*") if path.suffix in (".py", ".html", ".js", ".yaml")]
    return [path.name for path in files if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)]


@pytest.mark.parametrize(
    ("pattern", "homes"),
    [
        ("Content-Security-Policy", ["html.py"]),
        ("socratic_step_rate", ["metrics.py"]),
        ("^class UnusableError", ["errors.py"]),
        (r"^DTYPES = ", ["devices.py"]),
        (r'"tool_version": invocation', ["document.py"]),
        (r'\.open\("a"', ["journal.py"]),
        (r"extract\([^)]*lenient=True", ["judge.py"]),
    ],
)
def test_a_fact_has_one_home(pattern, homes):
    assert sources_with(pattern) == homes


def test_engines_have_generate_from_their_stream(house):
    engines = [name for name in house.trees if name.startswith("tools_shared.engines")]
    found = [name for name in engines for n in ast.walk(house.trees[name]) if getattr(n, "name", "") == "generate"]
    assert sorted(found) == ["tools_shared.engines.stream", "tools_shared.engines.types"]


def test_few_names_and_few_whole_configurations(house):
    """Numbers that only go down: public class names of two modules, functions that read few fields of all options."""
    assert len(house.classes_used_twice()) <= 6
    assert len(house.whole_configurations()) <= 10
