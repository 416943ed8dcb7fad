import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from tools_shared.cli import Invocation
from tools_shared.config import option
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.records import Origin, Rejected
from tools_shared.runs import RunConfig, draft, finished, read_manifest, read_metrics

CALL = Invocation("tools-paint", "1.0", ("tools-paint", "--coats", "2"), {"coats": "flag"})


@dataclass(frozen=True)
class PaintConfig(RunConfig):
    TOOL: ClassVar[str] = "paint"
    coats: int = option(1, "How many coats.")


def paint(folder, config=None, **inputs):
    config = config or PaintConfig()
    with draft(folder, config, CALL, "paint") as run:
        for name, (path, sha256) in inputs.items():
            run.add_input(name, str(path), sha256)
        (run.path / "wall.txt").write_text("red")
        run.log({"step": 1, "loss": 0.5})
        run.reject([Rejected(Origin("a.jsonl", 3), "no key", "{}")])
        return run.finish({"accuracy": {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 10}}, seed=7)


def interrupted(folder, config=None):
    with pytest.raises(KeyboardInterrupt), draft(folder, config or PaintConfig(), CALL, "paint") as run:
        run.log({"step": 1})
        run.log({"step": 2})
        raise KeyboardInterrupt


def test_a_finished_run_holds_what_the_design_lists(tmp_path):
    manifest = paint(tmp_path / "run", PaintConfig(coats=2))
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert names == {"wall.txt", "run.json", "config.yaml", "metrics.jsonl", "rejected.jsonl", "README.md"}
    assert manifest.data["options"]["coats"] == {"value": 2, "from": "flag"}
    assert manifest.data["outputs"]["wall.txt"] == {"bytes": 3, "sha256": sha256_file(tmp_path / "run" / "wall.txt")}
    assert manifest.data["seed"] == 7
    assert json.loads((tmp_path / "run" / "rejected.jsonl").read_text())["line"] == 3
    assert "50.0 % [40.0, 60.0], n=10" in (tmp_path / "run" / "README.md").read_text()
    assert not (tmp_path / "run.partial").exists()


@pytest.mark.parametrize(("umask", "usual"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_weights_may_be_read_by_whom_the_umask_lets(tmp_path, umask, usual):
    from safetensors.numpy import save_file

    before = os.umask(umask)
    try:
        with draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
            run.model_dir.mkdir()
            save_file({"a": np.zeros(2, np.float32)}, run.model_dir / "adapter_model.safetensors")
            run.finish({})
    finally:
        os.umask(before)
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert modes["adapter_model.safetensors"] == usual
    assert set(modes.values()) == {usual}


def test_environment_is_recorded_by_allow_list_only(tmp_path, monkeypatch):
    monkeypatch.setenv("API_KEY", "sesame")
    monkeypatch.setenv("TRAIN_SAMPLES", "64")
    paint(tmp_path / "run")
    text = (tmp_path / "run" / "run.json").read_text()
    assert "sesame" not in text
    assert read_manifest(tmp_path / "run").data["environment"]["TRAIN_SAMPLES"] == "64"


def test_configuration_file_repeats_the_run(tmp_path):
    from tools_shared.config import read_yaml

    paint(tmp_path / "run", PaintConfig(coats=3))
    assert PaintConfig(**read_yaml(tmp_path / "run" / "config.yaml", PaintConfig)).coats == 3


def test_a_finished_run_is_found_again_and_not_overwritten(tmp_path):
    first = paint(tmp_path / "run")
    assert finished(tmp_path / "run", PaintConfig()).sha256 == first.sha256
    with pytest.raises(ToolError, match="coats is 1 there, 2 here.*--overwrite"):
        finished(tmp_path / "run", PaintConfig(coats=2))
    assert finished(tmp_path / "run", PaintConfig(coats=2, overwrite=True)) is None
    second = paint(tmp_path / "run", PaintConfig(coats=2, overwrite=True))
    assert read_manifest(tmp_path / "run").options["coats"] == 2 == second.options["coats"]
    assert not (tmp_path / "run.old").exists()


def test_a_run_made_from_changed_data_does_not_pass_for_todays(tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text("{}\n")
    paint(tmp_path / "run", train=(data, sha256_file(data)))
    assert finished(tmp_path / "run", PaintConfig()) is not None
    data.write_text("{} \n")
    with pytest.raises(ToolError, match="has changed since; pass --overwrite"):
        finished(tmp_path / "run", PaintConfig())


def test_a_cut_off_run_goes_on_and_says_from_where(tmp_path):
    interrupted(tmp_path / "run")
    with draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        assert run.resumed
        run.rewind(1)
        manifest = run.finish({})
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1]
    assert [s.get("from_step") for s in manifest.data["sessions"]] == [None, 1]


def test_a_cut_off_run_of_another_configuration_is_refused(tmp_path):
    interrupted(tmp_path / "run")
    with (
        pytest.raises(ToolError, match=r"run.partial has another configuration: coats is 1 there, 5 here"),
        draft(tmp_path / "run", PaintConfig(coats=5), CALL, "paint"),
    ):
        pass
    with draft(tmp_path / "run", PaintConfig(coats=5, resume="never"), CALL, "paint") as run:
        assert not run.resumed


def test_data_may_not_change_under_a_cut_off_run(tmp_path):
    with pytest.raises(KeyboardInterrupt), draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        run.add_input("train", "train.jsonl", "aa")
        raise KeyboardInterrupt
    with draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run, pytest.raises(ToolError, match="has changed"):
        run.add_input("train", "train.jsonl", "bb")


def test_a_mistake_found_before_anything_was_made_leaves_no_draft(tmp_path):
    with pytest.raises(ToolError, match="no such colour"), draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        run.add_input("train", "train.jsonl", "aa")
        raise ToolError("no such colour")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ToolError, match="too late"), draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        run.log({"step": 1})
        raise ToolError("too late")
    assert (tmp_path / "run.partial" / "draft.json").exists()


@pytest.mark.parametrize("folder", [".", "", "/", ".."])
def test_a_folder_without_a_name_of_its_own_is_no_output_directory(folder):
    with pytest.raises(ToolError, match=f"--output-dir '{folder}': does not name a folder"):
        PaintConfig(output_dir=folder)


def test_a_link_is_not_replaced_by_a_run(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ToolError, match="is a link"):
        paint(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(ToolError, match="not a run directory"):
        finished(tmp_path / "run", PaintConfig())
    (tmp_path / "b.partial").mkdir()
    (tmp_path / "b.partial" / "thesis.txt").write_text("precious")
    with (
        pytest.raises(ToolError, match=r"not the draft of a run \(it contains 'thesis.txt'\)"),
        draft(tmp_path / "b", PaintConfig(resume="never"), CALL, "paint"),
    ):
        pass
    assert (tmp_path / "b.partial" / "thesis.txt").read_text() == "precious"


def test_an_unfinished_parent_is_refused_with_the_stage_to_finish(tmp_path):
    interrupted(tmp_path / "prep")
    with pytest.raises(ToolError, match=r"prep: this run has not finished \(prep.partial is there\)"):
        read_manifest(tmp_path / "prep")


WRITER = """
    import sys, time
    from dataclasses import dataclass
    from typing import ClassVar
    from pathlib import Path
    from tools_shared.cli import Invocation
    from tools_shared.runs import RunConfig, draft

    @dataclass(frozen=True)
    class PaintConfig(RunConfig):
        TOOL: ClassVar[str] = "paint"
        coats: int = 1

    with draft(Path(sys.argv[1]), PaintConfig(), Invocation("tools-paint", "1.0"), "paint") as run:
        run.log({"step": 1})
        print("writing", flush=True)
        time.sleep(60)
"""


def start_writer(folder):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "writing\n"
    return writer


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    writer = start_writer(tmp_path / "run")
    try:
        with (
            pytest.raises(ToolError, match="another process is writing this run"),
            draft(tmp_path / "run", PaintConfig(), CALL, "paint"),
        ):
            pass
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert not (tmp_path / "run").exists()
    with draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        assert run.resumed
        run.finish({})
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1]


def test_a_whole_draft_whose_process_died_before_the_rename_is_published(tmp_path):
    paint(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "run.partial")
    assert finished(tmp_path / "run", PaintConfig()) is not None
    assert (tmp_path / "run" / "run.json").exists()


def test_a_torn_last_line_of_the_journal_is_passed_over(tmp_path):
    interrupted(tmp_path / "run")
    journal = tmp_path / "run.partial" / "metrics.jsonl"
    journal.write_text(journal.read_text() + '{"step": 3, "lo')
    with draft(tmp_path / "run", PaintConfig(), CALL, "paint") as run:
        run.rewind(2)
        run.log({"step": 3})
        run.finish({})
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [1, 2, 3]
