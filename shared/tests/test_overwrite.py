"""What `--overwrite` may delete: the files of a finished run of ours, and nothing that anybody else put there."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from tools_shared.cli import Invocation
from tools_shared.config import option
from tools_shared.errors import ToolError
from tools_shared.files.outputs import output_files
from tools_shared.runs import RunConfig, check_unchanged, draft, finished, read_manifest

CALL = Invocation("tools-weave", "1.0")


@dataclass(frozen=True)
class WeaveConfig(RunConfig):
    TOOL: ClassVar[str] = "weave"
    threads: int = option(1, "How many threads.")
    wool: str | None = option(None, "What is woven.")


def weave(folder: Path, threads: int = 1, **options):
    config = WeaveConfig(threads=threads, **options)
    if done := finished(folder, config):
        return done
    with draft(folder, config, CALL, "weave") as run:
        (run.path / "cloth.bin").write_bytes(os.urandom(64))
        run.model_dir.mkdir()
        (run.model_dir / "pattern.json").write_text("{}")
        return run.finish({})


def again(folder: Path, threads: int = 2, **options):
    return weave(folder, threads, overwrite=True, **options)


def contents(folder: Path) -> dict[str, bytes | str]:
    """Every file and link below the folder."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_a_finished_run_is_replaced_and_nothing_is_left_of_it(tmp_path):
    weave(tmp_path / "run")
    assert again(tmp_path / "run").options["threads"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "draft.json" not in contents(tmp_path / "run")


@pytest.mark.parametrize("folder", ["own", "own folder", "ö"])
def test_a_folder_that_is_no_run_is_refused_whole(tmp_path, folder):
    own = tmp_path / folder
    (own / "sub").mkdir(parents=True)
    (own / "thesis.txt").write_text("precious")
    (own / "sub" / "y").write_text("x")
    before = contents(tmp_path)
    with pytest.raises(ToolError, match="not a run directory"):
        again(own)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "manifest",
    ["{}", '{"schema_version": 1}', '{"schema_version": 1, "status": "finished", "tool": "tools-x"}',
     '{"schema_version": 1, "status": "finished", "tool": "wandb", "outputs": {"thesis.txt": {"sha256": "aa"}}}',
     '{"schema_version": 1, "status": "finished", "tool": "tools-x", "outputs": ["thesis.txt"]}',
     '{"schema_version": 99, "status": "finished", "tool": "tools-x", "outputs": {}}', "[]", "null", '"run"'],
)  # fmt: skip
def test_somebody_elses_run_json_is_no_proof(tmp_path, manifest):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("precious")
    (tmp_path / "own" / "run.json").write_text(manifest)
    before = contents(tmp_path)
    with pytest.raises(ToolError):
        again(tmp_path / "own")
    assert contents(tmp_path) == before


def put_file(run: Path) -> str:
    (run / "notes.md").write_text("my findings")
    return "notes.md"


def put_into_a_folder_of_the_run(run: Path) -> str:
    (run / "model" / "mine.bin").write_bytes(b"\0")
    return "model/mine.bin"


def put_hidden(run: Path) -> str:
    (run / ".env").write_text("KEY=1")
    return ".env"


def write_into_the_card(run: Path) -> str:
    with (run / "README.md").open("a") as file:
        file.write("- it learns fractions last\n")
    return "README.md"


def change_a_byte(run: Path) -> str:
    cloth = bytearray((run / "cloth.bin").read_bytes())
    cloth[7] ^= 1
    (run / "cloth.bin").write_bytes(bytes(cloth))
    return "cloth.bin"


def link_to_a_folder(run: Path) -> str:
    (run.parent / "elsewhere").mkdir()
    (run.parent / "elsewhere" / "thesis.txt").write_text("precious")
    (run / "data").symlink_to(run.parent / "elsewhere")
    return "data"


def link_in_place_of_a_file(run: Path) -> str:
    (run / "cloth.bin").rename(run.parent / "cloth.bin")
    (run / "cloth.bin").symlink_to(run.parent / "cloth.bin")
    return "cloth.bin"


def run_inside(run: Path) -> str:
    weave(run / "second")
    return "second/"


@pytest.mark.parametrize(
    "change",
    [put_file, put_into_a_folder_of_the_run, put_hidden, write_into_the_card, change_a_byte, link_to_a_folder,
     link_in_place_of_a_file, run_inside],
)  # fmt: skip
def test_what_a_user_put_into_a_run_is_named_and_stops_it(tmp_path, change):
    weave(tmp_path / "run")
    name = change(tmp_path / "run")
    before = contents(tmp_path)
    with pytest.raises(ToolError, match=f"{name}.*nothing is replaced"):
        again(tmp_path / "run")
    assert contents(tmp_path) == before


def test_a_file_that_comes_while_the_run_is_made_stops_its_publication_and_is_kept(tmp_path):
    weave(tmp_path / "run")
    config = WeaveConfig(threads=2, overwrite=True)
    assert finished(tmp_path / "run", config) is None
    with (
        pytest.raises(ToolError, match=r"notes.md: not as this run wrote it"),
        draft(tmp_path / "run", config, CALL, "weave") as run,
    ):
        (run.path / "cloth.bin").write_bytes(b"new")
        put_file(tmp_path / "run")
        run.finish({})
    (tmp_path / "run" / "notes.md").rename(tmp_path / "notes.md")
    assert again(tmp_path / "run").options["threads"] == 2
    assert (tmp_path / "run" / "cloth.bin").read_bytes() == b"new"  # the whole draft, not made a second time
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.md", "run"]


def test_a_file_under_the_runs_name_that_comes_meanwhile_is_kept(tmp_path):
    with (
        pytest.raises(ToolError, match="appeared while the run was made"),
        draft(tmp_path / "run", WeaveConfig(), CALL, "weave") as run,
    ):
        (tmp_path / "run").write_text("precious")
        run.finish({})
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.parametrize("suffix", [".old", ".bak", ".replaced"])
def test_folders_beside_the_run_are_never_touched(tmp_path, suffix):
    beside = tmp_path / f"run{suffix}"
    beside.mkdir()
    (beside / "thesis.txt").write_text("precious")
    weave(tmp_path / "run")
    again(tmp_path / "run")
    assert (beside / "thesis.txt").read_text() == "precious"


def test_no_output_is_an_input(tmp_path):
    weave(tmp_path / "run")
    before = contents(tmp_path)
    for wool in ("run", "run/cloth.bin", "run/*.bin", "yarn=run/cloth.bin", "run/cloth.bin:spin"):
        with pytest.raises(ToolError, match=r"--wool .*lies in .*run, which --overwrite would replace"):
            again(tmp_path / "run", wool=f"{tmp_path}/{wool}" if "=" not in wool else f"yarn={tmp_path}/run/cloth.bin")
    assert contents(tmp_path) == before


def test_a_folder_above_the_input_is_no_run_and_stays(tmp_path):
    weave(tmp_path / "all" / "base")
    with pytest.raises(ToolError, match="not a run directory"):
        again(tmp_path / "all", wool=str(tmp_path / "all" / "base"))
    assert read_manifest(tmp_path / "all" / "base")


def moved_aside(tmp_path: Path) -> Path:
    """A replacement that a kill interrupted between its two renames."""
    old, new = tmp_path / "run", tmp_path / "run.partial"
    weave(tmp_path / "other", 2, overwrite=True)
    weave(old)
    (tmp_path / "other").rename(new)
    aside = tmp_path / ".run.0123456789abcdef.replaced"
    state = {"identity": read_manifest(new).identity, "run_id": "x", "sessions": [{}], "inputs": {}}
    (new / "draft.json").write_text(json.dumps({**state, "replaced": aside.name}))
    old.rename(aside)
    return aside


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_between_the_two_renames_is_recovered(tmp_path, overwrite):
    aside = moved_aside(tmp_path)
    assert weave(tmp_path / "run", 2, overwrite=overwrite).options["threads"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not aside.exists()


def test_what_was_put_into_the_folder_moved_aside_survives_the_recovery(tmp_path, capsys):
    aside = moved_aside(tmp_path)
    (aside / "notes.md").write_text("precious")
    weave(tmp_path / "run", 2)
    assert (aside / "notes.md").read_text() == "precious"
    assert "contains files that the replaced run did not write" in capsys.readouterr().err


def test_a_kill_while_the_old_run_is_deleted_is_recovered(tmp_path):
    aside = moved_aside(tmp_path)
    (tmp_path / "run.partial").rename(tmp_path / "run")
    (aside / "cloth.bin").unlink()
    weave(tmp_path / "run", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert "draft.json" not in contents(tmp_path / "run")


def test_a_state_that_names_another_folder_deletes_nothing_there(tmp_path):
    moved_aside(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "run.json").write_text('{"schema_version": 1, "status": "finished", "tool": "tools-x"}')
    state = json.loads((tmp_path / "run.partial" / "draft.json").read_text())
    (tmp_path / "run.partial" / "draft.json").write_text(json.dumps({**state, "replaced": "../mine"}))
    weave(tmp_path / "run", 2)
    assert (tmp_path / "mine" / "run.json").exists()


@pytest.mark.parametrize("change", [change_a_byte, lambda run: (run / "cloth.bin").write_bytes(b"") and "cloth.bin"])
def test_a_runs_file_that_was_changed_since_is_not_read(tmp_path, change):
    weave(tmp_path / "run")
    for path in (tmp_path / "run" / "cloth.bin", tmp_path / "run" / "model" / "pattern.json", tmp_path / "no-file"):
        check_unchanged(path)
    change(tmp_path / "run")
    with pytest.raises(ToolError, match=r"cloth.bin: is not as the run in .*run wrote it"):
        check_unchanged(tmp_path / "run" / "cloth.bin")
    put_file(tmp_path / "run")
    check_unchanged(tmp_path / "run" / "notes.md")  # no file of the run


def add(folder: Path, words: str, run: Path | None) -> None:
    with output_files("tools-weave --compare", {"page": folder / "page.txt"}, flag="--output", run=run) as files:
        files["page"].write_text(words)


def test_what_a_command_adds_to_its_own_run_goes_with_it_and_what_another_added_does_not(tmp_path):
    weave(tmp_path / "run")
    add(tmp_path / "run", "for this run", tmp_path / "run")
    again(tmp_path / "run")
    assert "page.txt" not in contents(tmp_path / "run")
    add(tmp_path / "run", "of a folder", None)
    with pytest.raises(ToolError, match=r"page.txt.*nothing is replaced"):
        again(tmp_path / "run", 3)
    (tmp_path / "run" / ".page.txt.outputs.json").unlink()
    (tmp_path / "run" / "page.txt").unlink()
    add(tmp_path / "run", "for this run", tmp_path / "run")
    (tmp_path / "run" / "page.txt").write_text("with my notes")
    with pytest.raises(ToolError, match="page.txt: not as this run wrote it"):
        again(tmp_path / "run", 3)
