"""No command deletes or changes a file that it did not write: every output option of every command, with and without
`--overwrite`, meets a folder or a file of somebody else's."""

import importlib
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

TOOLS = ("bench", "dedup", "grpo", "scorer", "sft", "traces")


def main_of(tool):
    return importlib.import_module(f"tools_{tool}.cli").main


def commands(command: click.Command, words: tuple[str, ...]):
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from commands(sub, (*words, name))
        if not command.invoke_without_command:
            return
    yield words, command


ALL = [found for tool in TOOLS for found in commands(main_of(tool), (tool,))]
OUTPUTS = {
    ("bench", "evaluate"): ("output_dir",), ("bench", "run"): ("output_dir",), ("bench", "compare"): ("output_dir",),
    ("bench", "budget"): ("output_dir",), ("bench", "rescore"): ("output_dir",), ("bench", "report"): ("output_file",),
    ("bench", "savings"): ("output_dir",), ("bench", "tag"): ("output_file",),
    ("bench", "data", "fetch"): (), ("bench", "data", "verify"): (),
    ("bench", "serve-chat"): (), ("bench", "doctor"): (), ("bench", "data", "list"): (), ("bench", "view"): (),
    ("bench", "agreement"): ("output_dir",), ("bench", "import"): ("output_dir",), ("bench", "export"): ("output_dir",),
    ("bench", "watch"): ("output_dir",), ("traces", "verdicts"): ("output_dir",),
    ("dedup", "run"): ("output_path", "removed_path", "matches_path", "save_embeddings"),
    ("dedup", "calibrate"): ("output_path",), ("dedup", "rethreshold"): ("output_path", "removed_path", "matches_path"),
    ("dedup", "merge"): ("output_path",), ("grpo", "train"): ("output_dir",), ("grpo", "inspect"): ("html",),
    ("scorer", "preprocess"): ("output_dir",), ("scorer", "extract"): ("output_dir",),
    ("scorer", "train"): ("output_dir",), ("scorer", "score"): ("output_file",),
    ("scorer", "evaluate"): ("output_dir",), ("scorer", "serve"): (), ("sft", "train"): ("output_dir",),
    ("sft", "export"): ("output_dir",), ("grpo", "export"): ("output_dir",), ("traces",): ("output_dir",),
    ("traces", "merge"): ("output_dir",),
}  # fmt: skip
"""What each command writes to. What `tools-bench data fetch` writes is named by no option, and known by its hash."""
WRITES = ("output", "html", "removed_path", "matches_path", "save_embeddings", "export_path")
NAMES_ONLY = {("bench", "evaluate"), ("traces",)}
"""Their --output-file is a name in the run directory."""


def test_every_output_of_every_command_is_here():
    assert {words for words, _ in ALL} == OUTPUTS.keys()
    for words, command in ALL:
        found = [p.name for p in command.params if p.name.startswith(WRITES) and p.name != "output_format"]
        if words in NAMES_ONLY:
            found.remove("output_file")
        assert sorted(found) == sorted(OUTPUTS[words]), words


FOLDERS = [
    ("bench evaluate --eval-path rows.jsonl", "own"),
    ("bench run --model-path demo --model-name own --suite quick", "../place"),  # the run is OUTPUT_DIR/NAME
    ("bench compare own own2", "own"),
    ("bench budget own", "own"),
    ("bench savings own2", "own"),
    ("grpo --train-path rows.jsonl --no-eval", "own"),
    ("sft train --train-path rows.jsonl --no-eval", "own"),
    ("sft export own2 --to merged", "own"),
    ("grpo export own2 --to hub", "own"),
    ("traces --data rows.jsonl", "own"),
    ("traces merge own2", "own"),
    ("scorer preprocess --input-file rows.jsonl", "own"),
    ("scorer train --train-dir rows.jsonl", "own"),
    ("scorer evaluate --scorer x --data y", "own"),
]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with rows of other mathematics, and a folder `own` that is nobody's run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "place"
    (place / "own" / "sub").mkdir(parents=True)
    monkeypatch.chdir(place)
    rows = [{"question": f"What is {n} mod 7?", "answer": f"#### {n % 7}"} for n in range(40)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("tests.jsonl").write_text(json.dumps(rows[3]) + "\n")
    Path("own/thesis.txt").write_text("precious")
    Path("own/sub/y").write_text("x")
    return place


def call(words: str, *more: str, **env: str):
    tool, *rest = words.split()
    return CliRunner().invoke(main_of(tool), [*rest, *more], env=env)


@pytest.mark.parametrize(("words", "folder"), FOLDERS, ids=[words.split(" -")[0] for words, _ in FOLDERS])
def test_a_folder_that_is_no_run_stays_as_it_is(place, words, folder):
    before = contents(place)
    tool = words.split()[0].upper()
    for more, env in (((), {}), (("--overwrite",), {}), ((), {f"TOOLS_{tool}_OVERWRITE": "1"})):
        done = call(words, "--output-dir", folder, *more, **env)
        assert done.exit_code == 1, done.output
        assert "own: not a run directory (no run.json in it)" in " ".join(done.output.split()), done.output
        assert contents(place) == before


def test_every_command_that_makes_a_run_is_asked():
    asked = {tuple(words.split(" -")[0].split(" own")[0].split()) for words, _ in FOLDERS} | {("grpo", "train")}
    made = {words for words, outputs in OUTPUTS.items() if outputs == ("output_dir",)}
    assert made - asked == READ_FIRST


READ_FIRST = {
    ("bench", "rescore"), ("scorer", "extract"), ("bench", "agreement"), ("bench", "import"), ("bench", "export"),
    ("bench", "watch"), ("traces", "verdicts"),
}  # fmt: skip
"""They read their run, log or rubric before they look at the folder."""
DEDUP = "dedup --train-path rows.jsonl --test-path tests.jsonl --text-key question --method exact"
FILES = [
    ("bench tag --input rows.jsonl", "--output", "own.txt"),
    (DEDUP, "--output-path", "own.jsonl"),
    (f"{DEDUP} --output-path kept.jsonl", "--removed-path", "own.jsonl"),
    (f"{DEDUP} --output-path kept.jsonl", "--matches-path", "own.jsonl"),
    (f"{DEDUP} --output-path own.x", "--removed-path", "r.jsonl"),  # own.report.html is made from the output's name
]


def foreign(name: str) -> Path:
    path = Path("own.report.html" if name == "r.jsonl" else name)
    path.write_text("precious")
    return path


@pytest.mark.parametrize(("words", "flag", "name"), FILES, ids=[f"{w.split()[0]} {f} {n}" for w, f, n in FILES])
def test_a_file_of_somebody_elses_is_refused_and_with_overwrite_kept(place, words, flag, name):
    path = foreign(name)
    before = contents(place)
    refused = call(words, flag, name)
    assert refused.exit_code == 1
    assert f"{path}: is there, and not as tools-{words.split()[0]}" in " ".join(refused.output.split())
    assert contents(place) == before
    done = call(words, flag, name, "--overwrite")
    assert done.exit_code == 0, done.output
    kept = next(place.glob(f".{path.name}.*.replaced"))
    assert kept.read_text() == "precious"
    assert kept.name in done.output
    assert call(words, flag, name).exit_code == 0  # its own now, and replaced unasked
    assert kept.read_text() == "precious"


def test_the_outputs_of_runs_and_their_pages(place):
    """A real run, and the commands that read it and write beside it."""
    evaluated = call("bench evaluate --eval-path tests.jsonl --eval-max-new-tokens 4 --output-dir run")
    assert evaluated.exit_code == 0, evaluated.output
    before = contents(place)
    for words in ("bench rescore run --output-dir own", "bench report run --output-file run/run.json"):
        for more in ((), ("--overwrite",)):
            assert call(words, *more).exit_code == 1, words
            assert contents(place) == before
    Path("page.html").write_text("precious")
    assert call("bench report run --output-file page.html").exit_code == 1
    assert Path("page.html").read_text() == "precious"
    assert call("bench report run --output-file page.html --overwrite").exit_code == 0
    assert next(place.glob(".page.html.*.replaced")).read_text() == "precious"
    assert call("bench report run --output-file page.html").exit_code == 0


def test_a_folder_that_is_none_of_hidden_states_gets_no_shards(place):
    before = contents(place)
    words = "scorer extract --input-path rows.jsonl --output-path own"
    for more in ((), ("--overwrite",)):
        assert call(words, *more).exit_code == 1
        assert contents(place) == before
