"""Killed while it replaces an earlier output, all files are of one run, and the next start completes what was begun."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools_shared.files import sha256_file

from .conftest import write_rows


def problems(n: int, of: str) -> list[dict[str, str]]:
    return [{"question": f"{of}: what is {i} divided by {i % 7 + 2}, to {i % 4} places?"} for i in range(n)]


def hashes(folder: Path) -> dict[str, str]:
    """Of every visible file but the manifest, which tells the time."""
    files = (path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".json")
    return {path.name: sha256_file(path) for path in files}


@pytest.mark.parametrize("n", [pytest.param(200, marks=pytest.mark.slow), 10])
def test_killed_while_replacing_all_files_are_of_one_run(kills, folder, n):
    write_rows(folder / "a.jsonl", [*problems(60, "Tom"), *problems(10, "Ann")])
    write_rows(folder / "t.jsonl", [*problems(10, "Ann"), *problems(5, "Eve")])
    words = ["run", "--train-path", folder / "a.jsonl", "--test-path", folder / "t.jsonl", "--text-key", "question"]
    of_old = ["--within", "--method", "exact"]
    of_new = ["--method", "exact", "--method", "lexical", "--threshold", "0.01", "--review", "0:1"]
    out = folder / "out"
    forks = kills("dedup", *words, *of_old, "--output-path", folder / "old" / "clean.jsonl")
    assert forks.run(*words, *of_new, "--output-path", folder / "new" / "clean.jsonl")[0] == 0
    old, new = hashes(folder / "old"), hashes(folder / "new")
    assert sum(old[name] != new.get(name) for name in old) > 4

    def check(killed: bool) -> None:
        found = hashes(out)
        assert found.items() <= old.items() or found.items() <= new.items(), found
        assert "clean.jsonl" in found
        manifest = out / "clean.run.json"
        if manifest.exists():  # a manifest means a whole run, and it is that run's
            told = json.loads(manifest.read_text())["outputs"]
            assert {entry["path"]: entry["sha256"] for entry in told.values()} == found
        if not killed:
            assert found == new
            assert not [path.name for path in out.iterdir() if path.name.startswith(".")]

    kills.random(forks, out, folder / "old", [*words, *of_new, "--output-path", out / "clean.jsonl"], n, check)
