"""`train --overwrite` killed at any time: the run directory holds one whole run, and the same command finishes."""

import json
from pathlib import Path

import pytest

from tools_shared.files import sha256_file


def run_in(folder: Path) -> str | None:
    """Which finished run a folder holds, every file as its manifest says; None where there is none."""
    if not (folder / "run.json").exists():
        return None
    manifest = json.loads((folder / "run.json").read_text())
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert there - {"run.json", "draft.json", "usage.jsonl", ".lock"} == manifest["outputs"].keys()
    assert all(sha256_file(folder / name) == entry["sha256"] for name, entry in manifest["outputs"].items())
    return f"epochs {manifest['options']['epochs']['value']}"


@pytest.mark.parametrize("n", [pytest.param(200, marks=pytest.mark.slow), 10])
def test_train_killed_while_replacing(kills, make_hidden, tmp_path, n):
    states = make_hidden(tmp_path / "states", n_questions=24, n_traces=4, n_steps=2, size=8, signal=1.0)

    def words(folder: Path, epochs: int) -> list:
        named = ["--train-dir", states, "--config-name", "demo", "--epochs", epochs, "--precision", "fp32"]
        return ["train", *named, "--output-dir", folder / "scorer"]

    out = tmp_path / "out"
    forks = kills("scorer", *words(tmp_path / "old", 1))

    def check(killed: bool) -> None:
        if (out / "scorer").exists():
            assert run_in(out / "scorer") in ("epochs 1", "epochs 2")
        else:  # between the two renames: both are whole, under other names
            assert sorted(run_in(path) or "" for path in out.iterdir()) == ["epochs 1", "epochs 2"]
        if not killed:
            assert run_in(out / "scorer") == "epochs 2"
            assert [path.name for path in out.iterdir()] == ["scorer"]
            assert not (out / "scorer" / "draft.json").exists()

    again = [*words(out, 2), "--overwrite"]
    kills.random(forks, out, tmp_path / "old", again, n, check)
