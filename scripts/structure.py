"""The structure of this repository in figures: circles of imports, class names used twice, functions that take a whole
configuration for one or two of its fields. `tests/test_rooms.py` holds them.

    python scripts/structure.py            # this checkout
    python scripts/structure.py FOLDER     # another one, such as an earlier commit's
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FEW_FIELDS = 2
"""A function that reads this many fields of a configuration, or fewer, should take the fields."""
CONFIG_NAMES = ("Config", "Options")
"""How the names of classes that hold options end."""
NOT_OURS = ("PreTrainedConfig",)
"""A model's architecture, by transformers."""


class House:
    """The modules of all packages under `root`: their syntax trees and who imports whom, wherever the import stands."""

    def __init__(self, root: Path) -> None:
        sources = [root / "shared" / "src", *sorted((root / "tools").glob("*/src"))]
        paths = [(source, path) for source in sources for path in sorted(source.rglob("*.py"))]
        self.paths = {_module_name(path.relative_to(source)): path for source, path in paths}
        self.trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in self.paths.items()}
        self.packages = {name for name, path in self.paths.items() if path.name == "__init__.py"}
        self.faces = {name for name in self.packages if not _definitions(self.trees[name])}
        self.imports = {name: {other for other in self._imported(name) if other != name} for name in self.trees}

    def _imported(self, name: str) -> Iterator[str]:
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    yield from self.home(node.module, alias.name)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.paths)

    def home(self, module: str, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """The module that `from module import name` is about: a face only hands names on."""
        if f"{module}.{name}" in self.paths:
            yield f"{module}.{name}"
        elif module in self.faces and module not in seen:
            for node in ast.walk(self.trees[module]):
                if isinstance(node, ast.ImportFrom) and node.module:
                    for alias in node.names:
                        if (alias.asname or alias.name) == name:
                            yield from self.home(node.module, alias.name, seen | {module})
        elif module in self.paths:
            yield module

    def circles(self) -> list[list[str]]:
        """Groups of modules each of which reaches all others of its group by imports (Tarjan's components)."""
        reached = {name: self.reach(name) for name in self.imports}
        groups = {
            frozenset(m for m in reached[name] if name in reached[m]) for name in reached if name in reached[name]
        }
        return sorted(sorted(group) for group in groups)

    def reach(self, name: str) -> set[str]:
        """All modules that `name` imports, directly or by way of others."""
        found: set[str] = set()
        todo = list(self.imports[name])
        while todo:
            if (one := todo.pop()) not in found:
                found.add(one)
                todo.extend(self.imports[one])
        return found

    def classes_used_twice(self) -> dict[str, list[str]]:
        """Public classes whose name two modules or more define, with those modules."""
        homes = defaultdict(list)
        for module, tree in self.trees.items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes[node.name].append(module)
        return {name: modules for name, modules in sorted(homes.items()) if len(modules) > 1}

    def whole_configurations(self) -> list[str]:
        """Functions, as `module.function(parameter): fields`, that take a configuration and read at most FEW_FIELDS
        of its fields, without handing it on."""
        found = []
        for module, tree in self.trees.items():
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef):
                    found += [f"{module}.{function.name}{said}" for said in _few_fields(function)]
        return sorted(found)


def _few_fields(function: ast.FunctionDef) -> Iterator[str]:
    arguments = function.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        kind = ast.unparse(argument.annotation).strip("\"'").removesuffix(" | None") if argument.annotation else ""
        if not kind.endswith(CONFIG_NAMES) or kind in NOT_OURS:
            continue
        calls = {id(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
        fields, whole = set(), False
        held = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == argument.arg:
                fields.add(node.attr)
                whole |= id(node) in calls  # a method is about all of them
            elif isinstance(node, ast.Name) and node.id == argument.arg and id(node) not in held:
                whole = True
        if not whole and len(fields) <= FEW_FIELDS:
            yield f"({argument.arg}): {', '.join(sorted(fields))}"


def _module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _definitions(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]


def main() -> None:
    house = House(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
    circles, twice, whole = house.circles(), house.classes_used_twice(), house.whole_configurations()
    _show("circles of imports", [" ".join(circle) for circle in circles])
    _show("public class names defined twice", [f"{name}: {' '.join(modules)}" for name, modules in twice.items()])
    _show("functions that take a whole configuration for one or two fields", whole)


def _show(what: str, found: list[str]) -> None:
    print(f"{what}: {len(found)}", *("  " + line for line in found), sep="\n")


if __name__ == "__main__":
    main()
