"""Files written as one set: what may be replaced, and that a kill never mixes two runs."""

import hashlib
import os
import subprocess
import sys
import textwrap

import pytest

from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, write_json
from tools_shared.files.outputs import describe, output_files

NAMES = ("rows.jsonl", "rows.rejected.jsonl", "picture.png")


def write(folder, words, tool="tools-weave cloth", names=NAMES, **options):
    targets = {name: folder / name for name in names}
    with output_files(tool, targets, flag="--output", **options) as files:
        for name in names:
            files[name].write_text(f"{name}: {words}")


def there(folder):
    return {p.name: p.read_text() for p in folder.iterdir() if not p.name.startswith(".")}


def hidden(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_a_command_replaces_what_it_wrote_and_leaves_only_its_record(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b")
    assert there(tmp_path) == {name: f"{name}: b" for name in NAMES}
    assert hidden(tmp_path) == [".rows.jsonl.outputs.json"]


def test_files_that_the_new_set_does_not_have_go_with_the_old_one(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", names=NAMES[:2])
    assert there(tmp_path) == {name: f"{name}: b" for name in NAMES[:2]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("written", [False, True])
def test_a_file_that_the_command_did_not_write_stops_it(tmp_path, name, written):
    if written:
        write(tmp_path, "a")
    (tmp_path / name).write_text("precious")
    before = there(tmp_path)
    with pytest.raises(ToolError, match=f"{name}: is there, and not as tools-weave cloth wrote it.*--overwrite"):
        write(tmp_path, "b")
    assert there(tmp_path) == before


def test_another_commands_file_is_not_its_own(tmp_path):
    write(tmp_path, "a")
    with pytest.raises(ToolError, match="not as tools-weave carpet wrote it"):
        write(tmp_path, "b", tool="tools-weave carpet")


def test_with_overwrite_the_file_is_kept_under_a_hidden_name(tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text("precious")
    (tmp_path / "rows.jsonl.old").write_text("older")
    write(tmp_path, "b", overwrite=True)
    assert there(tmp_path) == {**{name: f"{name}: b" for name in NAMES}, "rows.jsonl.old": "older"}
    kept = next(name for name in hidden(tmp_path) if name.endswith(".replaced"))
    assert (tmp_path / kept).read_text() == "precious"
    assert kept in capsys.readouterr().err
    write(tmp_path, "c")  # its own from now on
    assert (tmp_path / kept).read_text() == "precious"


def test_a_file_that_comes_meanwhile_stops_the_publication(tmp_path):
    with (
        pytest.raises(ToolError, match="is there, and not as"),
        output_files("tools-weave cloth", {"rows": tmp_path / "rows.jsonl"}, flag="--output") as files,
    ):
        files["rows"].write_text("new")
        (tmp_path / "rows.jsonl").write_text("precious")
    assert there(tmp_path) == {"rows.jsonl": "precious"}
    assert not hidden(tmp_path)


def test_a_mistake_leaves_everything_as_it_was(tmp_path):
    write(tmp_path, "a")
    with (
        pytest.raises(ToolError, match="no wool"),
        output_files("tools-weave cloth", {name: tmp_path / name for name in NAMES}, flag="--output") as files,
    ):
        files["rows.jsonl"].write_text("half")
        raise ToolError("no wool")
    assert there(tmp_path) == {name: f"{name}: a" for name in NAMES}
    assert hidden(tmp_path) == [".rows.jsonl.outputs.json"]


def test_no_output_is_an_input_a_link_a_folder_a_device_or_a_file_of_a_run(tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(ToolError, match=r"rows.jsonl: is an input too; give --output another path"):
            write(tmp_path, "b", inputs=[tmp_path / ".." / tmp_path.name / "rows.jsonl"], overwrite=overwrite)
    (tmp_path / "link.jsonl").symlink_to(data)
    with pytest.raises(ToolError, match="is a link"):
        write(tmp_path, "b", names=("link.jsonl",), overwrite=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ToolError, match="is a folder"):
        write(tmp_path, "b", names=("folder",), overwrite=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ToolError, match="not a regular file"):
        write(tmp_path, "b", names=("pipe",), overwrite=True)
    run = tmp_path / "run"
    run.mkdir()
    (run / "traces.jsonl").write_text("{}")
    write_json(run / "run.json", {"outputs": {"traces.jsonl": {}}})
    for name in ("run.json", "traces.jsonl"):
        with pytest.raises(ToolError, match="is a file of the run in"):
            write(run, "b", names=(name,), overwrite=True)
    assert data.read_text() == "precious"


def test_two_targets_are_not_one_file(tmp_path):
    targets = {"rows": tmp_path / "a.jsonl", "rejected": tmp_path / "." / "a.jsonl"}
    with (
        pytest.raises(ToolError, match="would be written twice, as rows and as rejected"),
        output_files("tools-weave cloth", targets, flag="--output"),
    ):
        pass


def test_a_record_of_the_commands_own_is_the_last_file(tmp_path):
    def weave(words):
        paths = {"rows": tmp_path / "a.jsonl", "manifest": tmp_path / "a.run.json"}
        with output_files("tools-weave", paths, flag="--output", record="manifest") as files:
            files["rows"].write_text(words)
            outputs = {"rows": describe(paths["manifest"], paths["rows"], files["rows"])}
            write_json(files["manifest"], {"tool": "tools-weave", "outputs": outputs})

    weave("a")
    weave("b")
    assert there(tmp_path).keys() == {"a.jsonl", "a.run.json"}
    assert not hidden(tmp_path)
    (tmp_path / "a.jsonl").write_text("mine now")
    with pytest.raises(ToolError, match="a.jsonl: is there"):
        weave("c")


WRITER = """
    import sys, time
    from pathlib import Path
    from tools_shared.files.outputs import output_files

    with output_files("tools-weave cloth", {"rows": Path(sys.argv[1])}, flag="--output") as files:
        print("writing", flush=True)
        time.sleep(60)
"""


def test_two_processes_on_one_output_the_second_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    words = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        for options in ({}, {"overwrite": True}):
            with pytest.raises(ToolError, match=r"rows.jsonl: another process is writing this file"):
                write(tmp_path, "b", **options)
        writer.kill()
        writer.wait()
    write(tmp_path, "b")
    assert hidden(tmp_path) == [".rows.jsonl.outputs.json"]


def cut_off(folder, words, n_renames):
    """A publication that dies after a given number of renames, as a child process."""
    child = os.fork()
    if child == 0:
        import pathlib

        count, replace = 0, pathlib.Path.replace

        def counted(self, target):
            nonlocal count
            if self.name.endswith(".draft") and ".journal." not in self.name:
                count += 1
                if count > n_renames:
                    os._exit(9)
            return replace(self, target)

        pathlib.Path.replace = counted
        write(folder, words)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("n_renames", range(4))
@pytest.mark.parametrize("words", ["b", "a"])
def test_wherever_it_is_cut_off_all_files_are_of_one_run_and_the_next_start_completes(tmp_path, n_renames, words):
    write(tmp_path, "a")
    cut_off(tmp_path, words, n_renames)
    found = there(tmp_path)
    assert "rows.jsonl" in found
    assert len({text.rpartition(" ")[2] for text in found.values()}) == 1
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    with (
        pytest.raises(ToolError, match="enough"),
        output_files("tools-weave cloth", {name: moved / name for name in NAMES}, flag="--output"),
    ):
        raise ToolError("enough")
    assert there(moved) == {name: f"{name}: {words}" for name in NAMES}
    assert hidden(moved) == [".rows.jsonl.outputs.json"]
    write(moved, "c")
    assert there(moved) == {name: f"{name}: c" for name in NAMES}


def test_a_journal_deletes_only_what_has_the_noted_hash(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    other = hashlib.sha256(b"other").hexdigest()
    write_json(tmp_path / "..rows.jsonl.outputs.json.journal", {"old": [["thesis.txt", other]], "moves": []})
    write(tmp_path, "a")
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    assert sha256_file(tmp_path / "thesis.txt") != other
