"""Every package as a wheel, installed alone into an empty environment: it brings what it needs, and it works."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ["dedup", "sft", "grpo", "traces", "scorer", "bench"]
PACKAGES = ["shared", *TOOLS]
HEAVY = {"torch", "transformers", "trl", "vllm", "datasets", "matplotlib", "ray"}
NEEDS = {
    "dedup": set(),
    "sft": {"torch", "transformers", "trl", "datasets"},
    "grpo": {"torch", "transformers", "trl", "datasets"},
    "traces": {"torch", "transformers", "datasets"},
    "scorer": {"torch", "transformers", "matplotlib"},
    "bench": {"torch", "transformers", "datasets", "matplotlib"},
}
"""Of the heavy packages, exactly those that a tool brings."""

pytestmark = pytest.mark.slow


def run(*words, check=True, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(w) for w in words], text=True, capture_output=True, check=False, **options)
    assert not check or done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run("make", "-s", "wheels", f"DIST={folder}", cwd=ROOT)
    return folder


class Environment:
    """An empty virtual environment."""

    def __init__(self, folder: Path) -> None:
        run(sys.executable, "-m", "venv", folder)
        self.bin = folder / "bin"

    def pip(self, *words, check=True) -> subprocess.CompletedProcess:
        return run(self.bin / "python", "-m", "pip", *words, check=check)

    def install(self, *words, check=True) -> subprocess.CompletedProcess:
        """Without compiling bytecode, which takes longer than the rest together."""
        return self.pip("install", "-q", "--no-compile", "-c", ROOT / "constraints.txt", *words, check=check)

    def packages(self) -> set[str]:
        return {entry["name"].lower() for entry in json.loads(self.pip("list", "--format=json").stdout)}


@pytest.fixture
def empty(tmp_path):
    yield Environment(tmp_path / "venv")
    shutil.rmtree(tmp_path / "venv")  # over a gigabyte where torch is in it


def tags(dist: Path) -> dict[str, list[str]]:
    names = sorted(path.name for path in dist.iterdir())
    return {package: [name for name in names if name.startswith(f"tools_{package}-")] for package in PACKAGES}


def test_make_wheels_builds_seven_wheels_and_sdists(dist):
    for package, names in tags(dist).items():
        wheel, sdist = names
        assert re.fullmatch(rf"tools_{package}-[\d.]+-py3-none-any\.whl", wheel)
        assert re.fullmatch(rf"tools_{package}-[\d.]+\.tar\.gz", sdist)
    assert len(list(dist.iterdir())) == 14


def test_a_wheel_holds_its_package_and_nothing_else(dist):
    for package in PACKAGES:
        (wheel,) = dist.glob(f"tools_{package}-*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        assert f"tools_{package}/__init__.py" in names
        assert {name.split("/")[0].split("-")[0] for name in names} == {f"tools_{package}"}
        assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]


def test_a_source_distribution_builds_the_same_wheel(dist, tmp_path):
    (sdist,) = dist.glob("tools_dedup-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path / "again", source)
    (again,) = (tmp_path / "again").iterdir()
    assert again.read_bytes() == (dist / again.name).read_bytes()


def test_the_core_carries_the_demo_model(dist):
    (wheel,) = dist.glob("tools_shared-*.whl")
    assert "tools_shared/demo/model/model.safetensors" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_alone_brings_what_it_needs_and_works(tool, dist, empty, tmp_path):
    empty.install("--find-links", dist, f"tools-{tool}")
    assert empty.packages() & HEAVY == NEEDS[tool]
    assert not {f"tools-{other}" for other in TOOLS if other != tool} & empty.packages()
    empty.pip("check")
    command = empty.bin / f"tools-{tool}"
    assert "Usage: " in run(command, "--help").stdout
    assert re.search(r"\d+\.\d+\.\d+", run(command, "--version").stdout)
    if tool in FIRST_RUNS:
        run(command, *FIRST_RUNS[tool], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})


SMALL = ["--base-model", "demo", "--train-samples", "16", "--eval-samples", "4", "--max-steps", "1"]
FIRST_RUNS = {
    "dedup": [
        "--train-path",
        "demo://contaminated?split=train&size=64",
        "--test-path",
        "demo://problems?split=test&size=16",
        "--output-path",
        "clean.jsonl",
    ],
    "traces": [
        "--grpo-model",
        "demo",
        "--data",
        "demo://problems?split=train&size=4",
        "--max-attempts",
        "1",
        "--max-new-tokens",
        "16",
    ],
    "sft": [*SMALL, "--eval-max-new-tokens", "8"],
    "grpo": [*SMALL, "--eval-max-new-tokens", "8", "--max-completion-length", "16"],
    "bench": ["evaluate", "--model-path", "demo", "--eval-samples", "4", "--eval-max-new-tokens", "8"],
}
"""What shows in seconds that a tool does its work with no more installed than it brings."""


def test_another_range_of_the_core_fails_at_install(dist, empty, tmp_path):
    """Two ways to meet a core that the tool was not made for: only that one can be had, or it is there already."""
    newer = tmp_path / "shared"
    shutil.copytree(ROOT / "shared", newer, ignore=shutil.ignore_patterns("__pycache__", "tests", "model"))
    init = newer / "src" / "tools_shared" / "__init__.py"
    init.write_text(re.sub(r'__version__ = ".+"', '__version__ = "0.3.0"', init.read_text()))
    links = tmp_path / "links"
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", links, newer)
    (tool,) = dist.glob("tools_dedup-*.whl")
    shutil.copy(tool, links)

    refused = empty.install("--find-links", links, "tools-dedup", check=False)
    assert refused.returncode != 0
    assert re.search(r"No matching distribution found for tools-shared\S*<0\.3,>=0\.2", refused.stderr)

    empty.install("--find-links", dist, "tools-dedup")
    empty.pip("check")
    empty.install("--no-deps", *links.glob("tools_shared-*.whl"))
    checked = empty.pip("check", check=False)
    assert checked.returncode == 1
    assert re.search(r"tools-dedup .* has requirement tools-shared.*<0\.3,>=0\.2, but you have tools-shared 0\.3\.0",
                     checked.stdout)  # fmt: skip


def test_from_a_checkout_by_folder(empty):
    empty.install("hatchling")
    empty.install("--no-build-isolation", ROOT / "shared", ROOT / "tools" / "dedup")
    assert "Usage: " in run(empty.bin / "tools-dedup", "--help").stdout


def test_from_git_by_subdirectory(empty, tmp_path):
    bare = tmp_path / "repository.git"
    run("git", "clone", "-q", "--bare", ROOT, bare)
    empty.install("hatchling")
    places = [f"git+file://{bare}#subdirectory={folder}" for folder in ("shared", "tools/dedup")]
    empty.install("--no-build-isolation", *places)
    assert "Usage: " in run(empty.bin / "tools-dedup", "--help").stdout


def test_every_package_names_its_licence_and_python():
    for package in PACKAGES:
        folder = ROOT / package if package == "shared" else ROOT / "tools" / package
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        assert project["license"] == "Apache-2.0"
        assert project["requires-python"] == ">=3.11"
