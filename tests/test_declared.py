"""Every package declares what it imports: a third-party module anywhere in its code is a dependency or an extra."""

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"shared": ROOT / "shared"} | {p.name: p for p in sorted((ROOT / "tools").iterdir()) if p.is_dir()}
NAMES = {"yaml": "pyyaml", "pynvml": "nvidia-ml-py",
         "PIL": "pillow", "dotenv": "python-dotenv", "faiss": "faiss-cpu", "flash_attn": "flash-attn",
         "liger_kernel": "liger-kernel", "mlflow": "mlflow-skinny", "math_verify": "math-verify",
         "sentence_transformers": "sentence-transformers", "huggingface_hub": "huggingface-hub"}  # fmt: skip
"""Modules whose package has another name."""
BROUGHT = {"trl"}
"""What the core imports for both trainers, which bring it."""


def third_party(folder: Path) -> dict[str, set[str]]:
    """Packages that the code imports, in functions and for types too, and the files that do."""
    found: dict[str, set[str]] = {}
    for path in (folder / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for module in (one.partition(".")[0] for one in modules):
                ours = module.startswith("tools_") or (path.parent / f"{module}.py").exists()
                if not ours and module not in sys.stdlib_module_names:
                    found.setdefault(NAMES.get(module, module.replace("_", "-")), set()).add(path.name)
    return found


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements(folder: Path) -> list[str]:
    told = project(folder)
    extras = [one for name, extra in told.get("optional-dependencies", {}).items() if name != "test" for one in extra]
    return [*told["dependencies"], *extras]


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def declared(folder: Path) -> set[str]:
    """Names of what a package asks for, by itself or by the extras of the core that it takes."""
    found = set()
    for requirement in requirements(folder):
        found.add(name_of(requirement))
        if name_of(requirement) == "tools-shared" and folder != PACKAGES["shared"]:
            core = project(PACKAGES["shared"])
            extras = re.findall(r"\[([a-z,]+)\]", requirement)
            taken = core["dependencies"] + [
                one
                for extra in (extras[0].split(",") if extras else [])
                for one in core["optional-dependencies"][extra]
            ]
            found |= {name_of(one) for one in taken}
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_imported_is_declared(name):
    folder = PACKAGES[name]
    known = declared(folder) | (BROUGHT if name == "shared" else set())
    missing = {package: sorted(files) for package, files in third_party(folder).items() if package not in known}
    assert not missing


@pytest.mark.parametrize("name", PACKAGES)
def test_every_dependency_has_a_bound(name):
    own = f"tools-{name}"
    bare = [one for one in requirements(PACKAGES[name]) if not re.search(r"[<>=]", one) and name_of(one) != own]
    assert not bare


def test_the_names_of_modules_are_those_of_their_packages():
    """What is installed here confirms the table of names."""
    known = metadata.packages_distributions()
    wrong = {m: p for m, p in NAMES.items() if m in known and p not in {n.lower().replace("_", "-") for n in known[m]}}
    assert not wrong
