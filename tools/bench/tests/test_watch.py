"""`tools-bench watch`: each run is asked once, whatever kills the watcher, and a gate says what it cannot decide."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import ClassVar
from xml.etree import ElementTree

import pytest
import yaml

from tools_bench.comparison.verdicts import MetricVerdict, judge
from tools_bench.watch import GateError, run_watch
from tools_bench.watching.gates import decide
from tools_bench.watching.options import WatchConfig
from tools_bench.watching.policy import Gate, GatePolicy, read_policy
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.runs import RunConfig, draft

CALL = Invocation("tools-bench", "1.0", ("tools-bench", "watch"), {})
N = 60


@dataclass(frozen=True)
class LoomConfig(RunConfig):
    TOOL: ClassVar[str] = "loom"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TINKER_API_KEY", "k")


@pytest.fixture
def suite(tmp_path):
    rows = [json.dumps({"question": f"What is {i} squared?", "answer": str(i * i)}) for i in range(N)]
    (tmp_path / "squares.jsonl").write_text("\n".join(rows) + "\n")
    content = {"name": "squares", "tasks": [{"name": "squares", "kind": "math", "source": "squares.jsonl"}]}
    (tmp_path / "squares.yaml").write_text(yaml.safe_dump(content))
    return str(tmp_path / "squares.yaml")


@pytest.fixture
def served(serve):
    """Models on a server: `served(right)` is one that squares the first `right` numbers; gives its run's metrics."""
    known, asked = {}, []

    def reply(path, body, number):
        asked.append((body["model"], body["messages"][-1]["content"]))
        time.sleep(0.01)
        i = int(body["messages"][-1]["content"].split("What is ")[1].split()[0])
        text = f"So the answer is \\boxed{{{i * i if i < known[body['model']] else -7}}}."
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, {}

    url = serve(reply).url

    def model(right):
        name = f"tinker://m{len(known)}"
        known[name] = right
        return {"tinker_model": name, "endpoint": f"{url}/v1"}

    model.asked = asked
    return model


def trained(folder, metrics):
    with draft(folder, LoomConfig(), CALL, "sft") as run:
        return run.finish(metrics)


def watched(tmp_path, suite, **options):
    given = {"root": str(tmp_path / "runs"), "suite": suite, "once": True, "output_dir": str(tmp_path / "out")}
    return run_watch(WatchConfig(**given | options), CALL)


def policy(tmp_path, **content):
    path = tmp_path / "gates.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_new_runs_are_asked_once_and_judged_against_the_baseline(tmp_path, suite, served):
    for name, right in (("base", 50), ("worse", 20), ("same", 50), ("deep/better", 60)):
        trained(tmp_path / "runs" / name, served(right))
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "run.json").write_text("{")
    gates = policy(
        tmp_path, baseline=str(tmp_path / "runs" / "base"), gates={"accuracy_lenient": {"block": 10, "warn": 2}}
    )
    for _ in range(2):
        with pytest.raises(GateError, match="BLOCK: worse: accuracy_lenient: 83.3 to 33.3 %") as told:
            watched(tmp_path, suite, policy=gates)
        assert told.value.exit_code == 4
        assert len(served.asked) == 4 * N
    found = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert {name: one["verdict"] for name, one in found.items()} == {
        "base": "PASS", "worse": "BLOCK", "same": "PASS", "deep/better": "PASS"
    }  # fmt: skip
    xml = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert [(s.get("name"), s.get("failures")) for s in xml] == [
        (f"tools-bench watch: {name}", str(int(name == "worse"))) for name in ("base", "deep/better", "same", "worse")
    ]
    assert "deep-better" in (tmp_path / "out" / "report.html").read_text()
    trained(tmp_path / "runs" / "later", served(50))
    with pytest.raises(GateError):
        watched(tmp_path, suite, policy=gates)
    assert len(served.asked) == 5 * N


def test_the_same_model_at_another_place_is_known_and_another_suite_is_not(tmp_path, suite, served):
    trained(tmp_path / "runs" / "one", served(9))
    watched(tmp_path, suite)
    (tmp_path / "runs").rename(tmp_path / "moved")
    (judged,) = watched(tmp_path, suite, root=str(tmp_path / "moved"))
    assert len(served.asked) == N
    assert judged.verdict == "PASS"
    with (tmp_path / "squares.jsonl").open("a") as file:
        file.write('{"question": "What is 3 cubed?", "answer": "27"}\n')
    watched(tmp_path, suite, root=str(tmp_path / "moved"))
    assert len(set(served.asked)) == N + 1


def test_a_run_that_cannot_be_benchmarked_is_an_error_and_the_others_are_judged(tmp_path, suite, served):
    trained(tmp_path / "runs" / "a", {"tinker_model": "t", "endpoint": "http://127.0.0.1:9/v1"})
    trained(tmp_path / "runs" / "b", served(50))
    with pytest.raises(ToolError, match="requests failed"):
        watched(tmp_path, suite, limit=12)
    found = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert {name: one["verdict"] for name, one in found.items()} == {"a": "ERROR", "b": "PASS"}
    assert '<error message="' in (tmp_path / "out" / "junit.xml").read_text()


def command(tmp_path, suite, *more):
    words = ["watch", tmp_path / "runs", "--suite", suite, "--once", "--output-dir", tmp_path / "out", *more]
    code = "import sys; from tools_bench.cli import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, words)]


@pytest.mark.slow
def test_a_killed_watcher_loses_nothing_and_two_share_the_runs(tmp_path, suite, served):
    for name, right in (("a", 50), ("b", 40), ("c", 30)):
        trained(tmp_path / "runs" / name, served(right))
    child = subprocess.Popen(command(tmp_path, suite), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(served.asked) < 1.4 * N and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    n_asked = len(served.asked)
    assert N < n_asked < 3 * N
    both = [subprocess.Popen(command(tmp_path, suite), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for one in both:
        _, said = one.communicate(timeout=300)
        assert one.returncode == 0, said
    twice = len(served.asked) - len(set(served.asked))
    assert len(set(served.asked)) == 3 * N
    assert twice <= 16  # what was under way when it was killed
    found = json.loads((tmp_path / "out" / "gates.json").read_text())
    assert {name: one["verdict"] for name, one in found.items()} == {"a": "PASS", "b": "PASS", "c": "PASS"}
    ElementTree.parse(tmp_path / "out" / "junit.xml")


@pytest.mark.slow
def test_it_waits_for_new_runs_until_a_signal_comes(tmp_path, suite, served):
    trained(tmp_path / "runs" / "a", served(50))
    words = [word for word in command(tmp_path, suite, "--interval", "0.2") if word != "--once"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    report = tmp_path / "out" / "gates.json"

    def seen(n):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if report.exists() and len(json.loads(report.read_text())) == n:
                return True
            time.sleep(0.05)
        return False

    assert seen(1)
    threading.Thread(target=trained, args=(tmp_path / "runs" / "b", served(40))).start()
    assert seen(2)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "stopped by SIGTERM" in said
    assert len(served.asked) == 2 * N


def verdict(pairs, gate, **more) -> MetricVerdict:
    a, b = ([1.0] * ones + [0.0] * (n - ones) for ones, n in pairs)
    return judge({"numeric_match": (a, b)}, gated=("numeric_match",))[0]


@pytest.mark.parametrize(
    ("before", "after", "gate", "wanted", "undecided"),
    [
        ((900, 1000), (600, 1000), {"block": 10}, "BLOCK", False),
        ((900, 1000), (840, 1000), {"block": 10, "warn": 2}, "WARN", False),
        ((900, 1000), (895, 1000), {"block": 10, "warn": 2}, "PASS", False),
        ((900, 1000), (990, 1000), {"block": 0}, "PASS", False),
        ((18, 20), (16, 20), {"block": 5}, "WARN", True),
        ((10, 12), (10, 12), {"block": 1}, "WARN", True),
    ],
)
def test_a_gate_passes_blocks_or_says_that_n_is_too_small(before, after, gate, wanted, undecided):
    rate = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": before[1]}
    results = {"evaluations": {"math_accuracy": {"intervals": {"numeric_match": rate}}}}
    found = decide(GatePolicy((Gate("numeric_match", **gate),), "x"), results, [verdict((before, after), gate)])
    assert [(d.verdict, d.undecided) for d in found] == [(wanted, undecided)]
    assert ("not decided" in found[0].why) == undecided
    if undecided:
        assert f"{before[1]} items" in found[0].why
        for counts in ("pass", "block"):
            policy = GatePolicy((Gate("numeric_match", **gate),), "x", undecided=counts)
            (one,) = decide(policy, results, [verdict((before, after), gate)])
            assert one.verdict == counts.upper()


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [({"at_least": 30}, "PASS"), ({"at_least": 70}, "BLOCK"), ({"at_least": 50}, "WARN"), ({"at_most": 30}, "BLOCK")],
)
def test_a_level_is_judged_by_the_rates_own_interval(limits, wanted):
    rate = {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 80}
    results = {"evaluations": {"math_accuracy": {"intervals": {"accuracy": rate}}}}
    (found,) = decide(GatePolicy((Gate("accuracy", **limits),)), results, None)
    assert found.verdict == wanted


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "a policy is a mapping"),
        ("gates: {}", "gates must be a mapping of metrics"),
        ("gate: {accuracy: {block: 1}}", "unknown key 'gate'"),
        ("baseline: x\ngates: {acuracy: {block: 1}}", "there is no metric 'acuracy'"),
        ("baseline: x\ngates: {1: {block: 1}}", "1 is no metric's name"),
        ("baseline: x\ngates: {accuracy: {blok: 1}}", "unknown key 'blok'"),
        ("baseline: x\ngates: {accuracy: {block: yes}}", "block must be a number from 0 to 100, got True"),
        ("baseline: x\ngates: {accuracy: {block: .nan}}", "block must be a number"),
        ("baseline: x\ngates: {accuracy: {block: -1}}", "block must be a number"),
        ("baseline: x\ngates: {accuracy: 5}", "accuracy must be a mapping with block"),
        ("baseline: x\ngates: {accuracy: {block: 1, warn: 4}}", "warn 4 is above block 1"),
        ("gates: {accuracy: {block: 1}}", "is compared with a baseline; give baseline"),
        ("baseline: [x]\ngates: {accuracy: {block: 1}}", "baseline must be the path of a run"),
        ("baseline: x\nalpha: 2\ngates: {accuracy: {block: 1}}", "alpha must be a number from 0.0001 to 0.5"),
        ("baseline: x\nundecided: maybe\ngates: {accuracy: {block: 1}}", "undecided must be pass, warn or block"),
        ("baseline: x\nexit_codes: {warn: 300}\ngates: {accuracy: {block: 1}}", "warn must be a whole number"),
        ("baseline: x\nexit_codes: 3\ngates: {accuracy: {block: 1}}", "exit_codes must be a mapping"),
        ("gates: {accuracy: {block: 1", "not valid YAML"),
        ("gates: {accuracy: {block: 1}, accuracy: {block: 2}}", "given twice"),
    ],
)
def test_a_policy_that_is_wrong_is_one_line(tmp_path, content, words):
    path = tmp_path / "gates.yaml"
    path.write_text(content)
    with pytest.raises(ToolError) as told:
        read_policy(str(path))
    assert words in str(told.value)
    assert str(told.value).startswith(str(path))
    assert "\n" not in str(told.value)


def test_a_gate_on_what_the_suite_does_not_measure_is_found_before_anything_is_asked(tmp_path, suite, served):
    trained(tmp_path / "runs" / "a", served(50))
    gates = policy(tmp_path, gates={"refusal_rate": {"at_least": 90}})
    with pytest.raises(ToolError, match="gate refusal_rate: is of kind safety, and suite squares has math"):
        watched(tmp_path, suite, policy=gates)
    assert not served.asked
    with pytest.raises(ToolError, match="no finished run with a model"):
        (tmp_path / "empty").mkdir()
        watched(tmp_path, suite, root=str(tmp_path / "empty"))
