"""`tag` and `report` killed while replacing an earlier output: files of one run, and the next start completes it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_shared.files import sha256_file

QUESTIONS = ["What is 3/4 of 20?", "Solve 2x + 3 = 11.", "What is the area of a circle of radius 3?", "Count to 7."]
N_KILLS = [pytest.param(200, marks=pytest.mark.slow), 10]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir() if not path.name.startswith(".")}


def record_is_true(out: Path, name: str) -> None:
    """The hidden record, where it is, lists what is there."""
    record = out / f".{name}.outputs.json"
    if record.exists():
        told = json.loads(record.read_text())["outputs"].values()
        assert {entry["path"]: entry["sha256"] for entry in told} == hashes(out)


@pytest.mark.parametrize("n", N_KILLS)
def test_tag_killed_while_replacing(kills, tmp_path, n):
    rows = [{"question": f"{question} ({i})"} for i in range(40) for question in QUESTIONS]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "no question"}]))

    def words(folder: Path, grade: str) -> list:
        return ["tag", "--input", source, "--output", folder / "tagged.jsonl", "--grade", grade]

    out = tmp_path / "out"
    forks = kills("bench", *words(tmp_path / "old", "2"))
    source.write_text(source.read_text() + '{"text": "another"}\n')
    assert forks.run(*words(tmp_path / "new", "9"))[0] == 0
    old, new = hashes(tmp_path / "old"), hashes(tmp_path / "new")
    assert all(old[name] != new[name] for name in old)

    def check(killed: bool) -> None:
        found = hashes(out)
        assert "tagged.jsonl" in found
        assert found.items() <= old.items() or found.items() <= new.items()
        record_is_true(out, "tagged.jsonl")
        if not killed:
            assert found == new
            assert [path.name for path in out.glob(".*")] == [".tagged.jsonl.outputs.json"]

    kills.random(forks, out, tmp_path / "old", words(out, "9"), n, check)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A run with other mathematics than the demo's."""
    folder = tmp_path_factory.mktemp("runs")
    data = folder / "test.jsonl"
    data.write_text('{"question": "What is 2^5?", "answer": "#### 32"}\n{"question": "5!?", "answer": "#### 120"}\n')
    words = ["evaluate", "--eval-path", data, "--eval-max-new-tokens", 8, "--output-dir", folder / "base"]
    assert CliRunner().invoke(main, [str(word) for word in words]).exit_code == 0
    return folder / "base"


@pytest.mark.parametrize("n", N_KILLS)
def test_report_killed_while_replacing(kills, tmp_path, evaluated, n):
    def words(folder: Path, title: str) -> list:
        return ["report", evaluated, "--output-file", folder / "report.html", "--title", title]

    out = tmp_path / "out"
    forks = kills("bench", *words(tmp_path / "old", "The old page"))

    def check(killed: bool) -> None:
        page = (out / "report.html").read_text()
        assert page.rstrip().endswith("</html>")
        assert ("The old page" in page) != ("The new page" in page)
        record_is_true(out, "report.html")
        if not killed:
            assert "The new page" in page
            assert [path.name for path in out.glob(".*")] == [".report.html.outputs.json"]

    kills.random(forks, out, tmp_path / "old", words(out, "The new page"), n, check)
