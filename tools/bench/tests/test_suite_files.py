"""What a suite file may say: which metrics are reported, and data from the hub that is pinned or is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.requests.items import read_task
from tools_bench.requests.suite import Task, load_suite
from tools_shared.errors import ToolError
from tools_shared.records import text_id

DATA = Path(__file__).parents[4] / "shared" / "data"
COMMIT = "e53f048856ff4f594e959d75785d2c2d37b678ee"
ROWS = [{"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"} for n in range(3)]


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def write_suite(folder, *tasks, name="mine"):
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\ntasks:\n" + "".join(f"  - {{{task}}}\n" for task in tasks))
    return path


@pytest.fixture
def runs(serve, tmp_path):
    """Two runs of a suite that chooses its metrics: all right, and one of three wrong."""
    chosen = "name: sums, kind: math, source: sums.jsonl, metrics: [numeric_match, truncated_proportion]"
    suite = write_suite(tmp_path, chosen)
    for name, wrong in (("good", None), ("bad", "What is 1 + 1?")):

        def answer(path, body, number, wrong=wrong):
            asked = body["messages"][-1]["content"]
            right = 2 * int(asked.split()[2])
            reply = {"message": {"content": f"<SOLUTION>{right + (asked == wrong)}</SOLUTION>"}}
            return 200, {"choices": [reply | {"finish_reason": "stop"}]}, {}

        words = ["--model-name", name, "--endpoint", f"{serve(answer).url}/v1", "--output-dir", tmp_path]
        done = bench("run", "--suite", suite, *words)
        assert done.exit_code == 0, done.output
    return tmp_path


def results(folder):
    return json.loads((folder / "benchmark_results.json").read_text())


def test_only_the_chosen_metrics_are_reported(runs):
    found = results(runs / "bad")
    assert list(found["evaluations"]["math_accuracy"]["intervals"]) == ["numeric_match", "truncated_proportion"]
    assert found["headline"] == {"math_accuracy": "numeric_match"}
    assert found["evaluations"]["math_accuracy"]["numeric_match"] == pytest.approx(2 / 3)
    assert "accuracy_lenient" not in (runs / "bad" / "metrics.txt").read_text()
    assert set(json.loads((runs / "bad" / "run.json").read_text())["metrics"]) == {
        "numeric_match",
        "truncated_proportion",
    }


def test_comparing_and_grading_again_keep_to_the_choice(runs):
    assert bench("compare", runs / "good", runs / "bad", "--output-dir", runs / "cmp").exit_code == 0
    found = json.loads((runs / "cmp" / "comparison.json").read_text())
    assert list(found["metrics"]) == ["numeric_match", "truncated_proportion"]
    assert found["n_flips"] == 1
    assert bench("rescore", runs / "bad").exit_code == 0
    assert results(runs / "bad-rescored")["evaluations"] == results(runs / "bad")["evaluations"]
    refused = bench("compare", runs / "good", runs / "bad", "--output-dir", runs / "c2", "--fail-on", "accuracy:1")
    assert refused.exit_code == 1
    assert "not among the compared metrics" in refused.output


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("accuracy", "metrics must be a list of names"),
        ("[acuracy]", "no metric 'acuracy' of kind math (did you mean 'accuracy'?)"),
        ("[refusal_rate]", "no metric 'refusal_rate' of kind math"),
        ("[pass_at_many]", "no metric 'pass_at_many'"),
    ],
)
def test_a_wrong_choice_is_named(tmp_path, metrics, message):
    path = write_suite(tmp_path, f"name: sums, kind: math, source: sums.jsonl, metrics: {metrics}")
    with pytest.raises(ToolError, match="task 1") as caught:
        load_suite(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{tasks: [{name: a, kind: math, source: x.jsonl, sha256: 123}]}", "task 1: sha256 must be text, got 123"),
        ("{tasks: [{name: a, kind: math, source: x.jsonl, question_key: [q]}]}", "question_key must be text"),
        ("{tasks: [{name: a, kind: tutor, source: x.jsonl, mode: solve}]}", "mode must be one of hint, check_step"),
        ("{tasks: [{name: a, kind: math, source: x.jsonl, limit: true}]}", "limit must be a whole number from 1"),
        ("{profile: 3, tasks: [{name: a, kind: math, source: x.jsonl}]}", "profile must be text, got 3"),
        ("{profle: think, tasks: [{name: a, kind: math, source: x.jsonl}]}", "unknown key 'profle'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, text, message):
    (tmp_path / "suite.yaml").write_text(text)
    done = bench("data", "verify", "--suite", tmp_path / "suite.yaml")
    assert done.exit_code == 1
    assert message in done.output


def test_every_row_is_asked_or_rejected(tmp_path):
    """The same question in several modes is several items; what is null is not given."""
    rows = [
        {"question": "What is 2+3?", "answer": None, "mode": None, "grade": None},
        {"question": "What is 2+3?", "answer": "5", "mode": "check_step", "attempt": "6"},
        {"question": "What is 2+3?", "answer": "5", "mode": "solve"},
        {"id": 0, "question": "What is 2+4?", "answer": 6},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_task(Task("t", "tutor", str(tmp_path / "t.jsonl"), grade="3"))
    asked = [(item.id, item.answer, item.mode, item.grade) for item in found.items]
    first = text_id("What is 2+3?")
    assert asked == [
        (first, None, "hint", "3"), (f"{first}-2", "5", "check_step", "3"), ("0", "6", "hint", "3")
    ]  # fmt: skip
    assert [(row.origin.line, row.reason) for row in found.rejected] == [
        (3, '"mode" must be one of hint, check_step, explain, got "solve"')
    ]


def test_the_two_refusal_rates_are_never_apart(tmp_path):
    path = write_suite(tmp_path, "name: s, kind: safety, source: s.jsonl, metrics: [refusal_rate]")
    with pytest.raises(ToolError, match="are reported together"):
        load_suite(str(path))


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The cache as `datasets` leaves it after a download of owner/name at COMMIT; no hub can be reached."""
    from datasets.packaged_modules.json.json import Json

    home = tmp_path_factory.mktemp("hub")
    source = home / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    builder = Json(
        cache_dir=str(home / "datasets"),
        dataset_name="name",
        config_name="main",
        config_id="main",
        data_files={"test": [str(source)]},
        hash=COMMIT,
    )
    builder.download_and_prepare()
    (home / "datasets" / "name").rename(home / "datasets" / "owner___name")
    return home


def verify(hub, suite):
    """`data verify` in a fresh process, whose hub is a port where nobody listens."""
    command = [str(Path(sys.executable).with_name("tools-bench")), "data", "verify", "--suite", str(suite)]
    variables = {"HF_HOME": str(hub), "HF_ENDPOINT": "http://127.0.0.1:9", "PATH": os.environ["PATH"]}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


def test_hub_data_is_pinned_by_its_commit_and_its_rows(hub, tmp_path):
    address = f"hf://owner/name?config=main&split=test&revision={COMMIT}"
    by_commit = verify(hub, write_suite(tmp_path, f"name: a, kind: math, source: '{address}'"))
    assert by_commit.returncode == 1
    assert "is pinned by its commit only: write the sha256 of its rows" in by_commit.stderr
    sha256 = by_commit.stderr.split("suite (")[1].split(")")[0]
    whole = verify(hub, write_suite(tmp_path, f"name: a, kind: math, source: '{address}', sha256: {sha256}"))
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout == f"{address}: rows as pinned\n"
    other = verify(hub, write_suite(tmp_path, f"name: a, kind: math, source: '{address}', sha256: '{'0' * 64}'"))
    assert other.returncode == 1
    assert "are not the rows that the suite pins" in other.stderr


@pytest.mark.parametrize("revision", ["", "&revision=main", "&revision=e53f048"])
def test_hub_data_that_can_move_is_refused(hub, tmp_path, revision):
    address = f"hf://owner/name?config=main&split=test{revision}"
    done = verify(hub, write_suite(tmp_path, f"name: a, kind: math, source: '{address}'"))
    assert done.returncode == 1
    assert f"{address} is not pinned: a branch or tag can move; name the commit" in done.stderr


def test_every_shipped_source_is_pinned():
    for name in ("standard", "comprehensive"):
        for task in load_suite(name).tasks:
            assert task.sha256 or not task.source.startswith(("hf://", "data://"))
            assert task.url is None or any(len(part) in (7, 40) for part in task.url.split("/"))


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the suites (../shared/data) is not on this machine")
def test_the_pins_are_those_of_the_real_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLS_BENCH_DATA_DIR", str(tmp_path))
    for name, path in (
        ("gsm8k-test.jsonl", "gsm8k/test.jsonl"),
        ("math500-test.jsonl", "math/math500.jsonl"),
        ("xstest_prompts.csv", "safety/xstest_prompts.csv"),
    ):
        (tmp_path / name).symlink_to(DATA / path)
    done = bench("data", "verify", "--suite", "comprehensive")
    assert done.exit_code == 0, done.output
    assert done.output.count(": as pinned") == 3
