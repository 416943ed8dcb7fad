"""Whole runs with the demo model: output, resume after kills, shards, wrong input."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_shared.errors import ToolError
from tools_shared.sources import read_problems
from tools_traces.attempts.journal import FILE, read_attempts
from tools_traces.cli import main
from tools_traces.config import MergeConfig
from tools_traces.merge import merge

from .conftest import CALL, OPTIONS, result, run

HERE = Path(__file__).parent


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, plain):
    folder = tmp_path_factory.mktemp("traces") / "run"
    run(folder, plain)
    return folder


def test_rows_figures_and_manifest(unbroken):
    rows, graded = lines(unbroken / "traces.jsonl"), lines(unbroken / "traces.graded.jsonl")
    stats = json.loads((unbroken / "traces.jsonl.stats.json").read_text())
    order = [p.id for p in read_problems(OPTIONS["data"]).items]
    assert [row["id"] for row in rows] == order
    by_model = [row for row in rows if row["source"] == "model"]
    assert 4 <= len(by_model) < 24
    assert stats["grpo_successes"] == len(by_model)
    assert stats["fallback_count"] == 24 - len(by_model)
    assert len(graded) == stats["attempts"] == sum(row["n_attempts"] for row in rows)
    assert sum(row["verified"] for row in graded) == len(by_model)
    assert all(row["answer"].endswith(f"#### {row['extracted_answer']}") for row in by_model)
    assert all(row["token_ids"] for row in by_model)
    assert sum(stats["attempts_histogram"].values()) == 24
    manifest = json.loads((unbroken / "run.json").read_text())
    assert manifest["metrics"]["success_rate"] == stats["success_rate"]
    assert {"traces.jsonl", "attempts.jsonl", "metrics.jsonl"} <= manifest["outputs"].keys()


def test_places_that_would_stay_empty_draw_ahead_and_it_counts_nowhere(unbroken, tmp_path, plain):
    """Three questions on 16 places: all their attempts are under way at once, and the figures are as if one by one."""
    run(tmp_path / "few", plain, data="demo://problems?split=train&size=3")
    drawn = read_attempts(tmp_path / "few" / FILE)
    stats = json.loads((tmp_path / "few" / "traces.jsonl.stats.json").read_text())
    assert stats["timing"]["attempts_last_session"] == len(drawn) >= stats["attempts"]
    assert {key for key, _ in drawn} == {row["id"] for row in lines(tmp_path / "few" / "traces.jsonl")}
    graded = {row["id"]: row for row in lines(unbroken / "traces.graded.jsonl")}
    assert [row["n_attempts"] for row in lines(tmp_path / "few" / "traces.jsonl")] == [
        row["n_attempts"] for row in list(graded.values())[:3]
    ]


def test_stopping_early_gives_the_first_rows_of_drawing_all(unbroken, tmp_path, plain):
    run(tmp_path / "all", plain, keep="all")
    first = {}
    for row in lines(tmp_path / "all" / "traces.jsonl"):
        first.setdefault(row["id"], row)
    for row in lines(unbroken / "traces.jsonl"):
        assert first[row["id"]]["response"] == row["response"]
        assert first[row["id"]]["attempt"] == row["attempt"]


def test_shards_merge_to_the_bytes_of_one_process(unbroken, tmp_path, plain):
    for i in range(2):
        run(tmp_path / f"s{i}", plain, shard=f"{i}/2")
    folders = (str(tmp_path / "s1"), str(tmp_path / "s0"))
    with pytest.raises(ToolError, match="the shards 0/2 are missing"):
        merge(MergeConfig(runs=folders[:1], output_dir=str(tmp_path / "whole")), CALL)
    with pytest.raises(ToolError, match="not a run of tools-traces|missing|for"):
        merge(MergeConfig(runs=(str(unbroken), *folders), output_dir=str(tmp_path / "whole")), CALL)
    merge(MergeConfig(runs=folders, output_dir=str(tmp_path / "whole")), CALL)
    assert result(tmp_path / "whole") == result(unbroken)


def killed(folder, plain, seed, n_kills):
    options = OPTIONS | {"profile": plain, "output_dir": str(folder)}
    done = subprocess.run(
        [sys.executable, str(HERE / "kills.py"), str(seed), str(n_kills), json.dumps(options)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return int(done.stdout.splitlines()[-1])


def test_kills_change_no_byte(unbroken, tmp_path, plain):
    assert killed(tmp_path / "run", plain, seed=0, n_kills=4) == 4
    assert result(tmp_path / "run") == result(unbroken)


@pytest.mark.slow
def test_200_kills_change_no_byte(unbroken, tmp_path, plain):
    n_killed, seed = 0, 0
    while n_killed < 200:
        seed += 1
        folder = tmp_path / f"run{seed}"
        n_killed += killed(folder, plain, seed, n_kills=200 - n_killed)
        assert result(folder) == result(unbroken)
        shutil.rmtree(folder)


def test_a_journal_of_another_configuration_is_refused(unbroken, tmp_path, plain):
    partial = tmp_path / "run.partial"
    shutil.copytree(unbroken, partial)
    identity = json.loads((unbroken / "run.json").read_text())["identity"]
    state = {"identity": identity, "run_id": "x", "sessions": [], "inputs": {}}
    (partial / "draft.json").write_text(json.dumps(state))
    with pytest.raises(ToolError, match=r"temperature is 0\.8 there, 0\.5 here"):
        run(tmp_path / "run", plain, temperature=0.5)


def test_a_template_that_opens_the_thinking_tag(tmp_path):
    """The demo continues `Let us see.` by itself; a profile takes these words for the opening tag."""
    from tools_shared.demo import model_path

    model = tmp_path / "model"
    shutil.copytree(model_path(), model)
    template = (model / "chat_template.jinja").read_text()
    assert template.count("'<|im_start|>assistant\n'") == 1
    opened = template.replace("'<|im_start|>assistant\n'", "'<|im_start|>assistant\nLet us see.'")
    (model / "chat_template.jinja").write_text(opened)
    (tmp_path / "p.yaml").write_text(
        'name: opened\nsystem: Solve it.\nthink: ["Let us see.", " The answer is"]\nanswer: [" ", "."]\n'
    )
    run(tmp_path / "run", str(tmp_path / "p.yaml"), model=str(model), token_ids=False)
    rows = [row for row in lines(tmp_path / "run" / "traces.jsonl") if row["source"] == "model"]
    assert len(rows) >= 3
    originals = {p.id: p.reasoning for p in read_problems(OPTIONS["data"]).items}
    assert all(row["response"].startswith("Let us see.") for row in rows)
    assert any(row["answer"].split("\n\n####")[0] != originals[row["id"]] for row in rows)


def test_test_questions_and_unreadable_answers_are_rejected(tmp_path, plain, capsys):
    rows = [{"question": f"What is {i} plus 1?", "answer": f"x\n#### {i + 1}"} for i in range(3)]
    rows.append({"question": "Huge?", "answer": f"x\n#### 1e{'9' * 400}"})
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "test.jsonl").write_text(json.dumps(rows[1] | {"question": "what is 1 PLUS 1"}) + "\n")
    run(
        tmp_path / "run", plain, data=str(tmp_path / "train.jsonl"), decontaminate=str(tmp_path / "test.jsonl"),
        num_samples=99, max_attempts=1,
    )  # fmt: skip
    rejected = {row["line"]: row["reason"] for row in lines(tmp_path / "run" / "rejected.jsonl")}
    assert set(rejected) == {2, 4}
    assert "is in the test set" in rejected[2]
    assert "gold answer" in rejected[4]
    assert "fewer than --num-samples 99" in capsys.readouterr().err


def test_a_merge_is_of_the_data_and_the_test_set_that_the_shards_had(tmp_path, plain):
    rows = [{"question": f"What is {i} plus 1?", "answer": f"x\n#### {i + 1}"} for i in range(4)]
    files = {"data": tmp_path / "train.jsonl", "decontaminate": tmp_path / "test.jsonl"}
    files["data"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    files["decontaminate"].write_text(json.dumps(rows[1]) + "\n")
    for i in range(2):
        paths = {name: str(path) for name, path in files.items()}
        run(tmp_path / f"s{i}", plain, max_attempts=1, shard=f"{i}/2", **paths)
    config = MergeConfig(runs=(str(tmp_path / "s0"), str(tmp_path / "s1")), output_dir=str(tmp_path / "whole"))
    files["decontaminate"].write_text(json.dumps(rows[2]) + "\n")
    with pytest.raises(ToolError, match=r"test\.jsonl: has changed since"):
        merge(config, CALL)
    files["decontaminate"].write_text(json.dumps(rows[1]) + "\n")
    merge(config, CALL)
    assert len(lines(tmp_path / "whole" / "traces.jsonl")) == 3


def test_options_that_stand_before_merge_are_refused():
    done = CliRunner().invoke(main, ["--keep", "all", "merge", "a", "b"])
    assert done.exit_code == 2
    assert "--keep comes before 'merge'" in done.output


def test_a_dry_run_writes_nothing(tmp_path, plain, capsys):
    assert run(tmp_path / "run", plain, dry_run=True) is None
    assert "would draw 24 to 96 completions" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_as_users_write_it(tmp_path, plain):
    command = [
        Path(sys.executable).with_name("tools-traces"), "--grpo-model", "demo", "--output-dir", str(tmp_path / "run"),
        "--output-file", "grpo_traces_train.jsonl", "--dataset-split", "train", "--num-samples", "4",
        "--batch-size", "32", "--max-attempts", "2", "--temperature", "0.8", "--profile", plain, "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["kind"] == "traces"
    assert len(lines(tmp_path / "run" / "grpo_traces_train.jsonl")) == 4
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "already finished" in again.stderr
