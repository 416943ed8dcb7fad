"""The dashboard: whole, from file://, and deaf to what models write."""

import html.parser
import json
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.report.entries import find_runs, read_entries
from tools_bench.report.graph import budgets, lineage
from tools_shared.runs import read_manifest

BAD = "document.title='owned'"
ATTACK = f'</script><script>{BAD}</script><img src=x onerror="{BAD}"> <SOLUTION>25</SOLUTION>'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def page(serve, tmp_path):
    for name, text in (("plain", "<SOLUTION>25</SOLUTION>"), ("attacker", ATTACK)):
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        asked = serve(lambda path, body, number, reply=reply: (200, reply, {}))
        words = ["run", "--model-name", name, "--endpoint", f"{asked.url}/v1", "--output-dir", tmp_path / "runs"]
        words += ["--suite", "quick"]
        assert bench(*words).exit_code == 0
    done = bench(
        "report",
        tmp_path / "runs",
        "--output-file",
        tmp_path / "r.html",
        "--title",
        "A <b>title</b>",
        "--baseline",
        "plain",
    )
    assert done.exit_code == 0, done.output
    return tmp_path / "r.html"


class Elements(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_one_file_with_nothing_from_elsewhere(page):
    parser = Elements()
    parser.feed(page.read_text())
    tags = [tag for tag, _ in parser.found]
    assert tags.count("script") == 2
    assert not {"img", "link", "iframe"} & set(tags)
    assert all(not attrs.get("src") for _, attrs in parser.found)
    assert "A &lt;b&gt;title&lt;/b&gt;" in page.read_text()


def test_a_section_is_called_the_same_everywhere(page):
    text = page.read_text()
    linked = re.findall(r'<a href="#(\w+)">([^<]+)</a>', text)
    assert linked == re.findall(r'<section id="(\w+)"><h2>([^<]+)</h2>', text)


def test_the_data_in_it(page):
    text = page.read_text()
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    runs = {run["name"]: run for run in data["runs"]}
    assert runs["attacker"]["metrics"]["accuracy"]["estimate"] == 0.1
    assert runs["attacker"]["baseline"] == "plain"
    assert data["differences"]["attacker"][0]["n"] == 10
    assert {node["label"] for node in data["lineage"]["nodes"]} >= {"plain", "attacker"}
    assert len(runs["plain"]["examples"]) == 30


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on this machine")
def test_in_a_browser(page, tmp_path):
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    assert "<title>A &lt;b&gt;title&lt;/b&gt;</title>" in dom  # no script of a model's has run
    assert "owned'&lt;/script&gt;" in dom  # and its text is there to be read
    assert "<img" not in dom
    assert dom.count('role="row"') + dom.count("<tr>") > 5
    for words in ("2 runs, 2 with results", "attacker against plain", "30 of 30"):
        assert words in dom


def made(folder, kind, inputs=(), outputs=(), minutes=0, **metrics):
    """A finished run of that kind in a folder, as a tool would leave it; returns its manifest."""
    hour = f"2026-01-01T{len(list(folder.parent.iterdir())):02d}"
    folder.mkdir()
    entries = [{"name": n, "path": str(p), "sha256": s, "run_sha256": r} for n, p, s, r in inputs]
    data = {
        "schema_version": 1, "kind": kind, "status": "finished", "tool": f"tools-{kind}", "tool_version": "0.1.0",
        "run_id": "r", "started": f"{hour}:00:00+00:00", "finished": f"{hour}:{minutes:02d}:00+00:00",
        "inputs": entries, "outputs": {n: {"sha256": s} for n, s in outputs}, "metrics": metrics,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(data))
    return read_manifest(folder)


@pytest.fixture
def pipeline(tmp_path):
    """prep, grpo from it, traces from that, SFT on the traces; the training set is what tools-dedup kept."""
    rate = {"accuracy": {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 100}}
    kept = tmp_path / "train.jsonl"
    cleaning = [
        {"name": name, "path": f"demo://{name}", "sha256": name, "run_sha256": None} for name in ("dirty", "test")
    ]
    manifest = {"kind": "dedup", "outputs": {"kept": {"sha256": "K"}}, "inputs": cleaning}
    (tmp_path / "train.run.json").write_text(json.dumps(manifest))
    data = ("train", kept, "K", None)
    prep = made(tmp_path / "prep", "prep_sft", [data], minutes=1, **rate)
    grpo = made(tmp_path / "grpo", "grpo", [data, ("base_model", "prep", "-", prep.sha256)], minutes=5, **rate)
    given = [data, ("model", "grpo", "-", grpo.sha256)]
    made(tmp_path / "traces", "traces", given, [("traces.jsonl", "T")], minutes=9)
    (tmp_path / "traces" / "debug").mkdir()
    (tmp_path / "traces" / "debug" / "traces_r.csv").write_text("question,attempts\n1+1?,3\n")
    given = [("train", tmp_path / "traces" / "traces.jsonl", "T", None), ("base_model", "prep", "-", prep.sha256)]
    made(tmp_path / "sft", "sft_from_traces", given, minutes=2, **rate)
    made(tmp_path / "compare", "compare", [("prep", "prep", "-", prep.sha256)], **rate)
    return read_entries(find_runs([str(tmp_path)]), 10)


def test_lineage_goes_through_the_files_that_runs_made_and_dedup_kept(pipeline):
    found = lineage(pipeline)
    label = {node["id"]: node["label"] if node["run"] else node["id"] for node in found["nodes"]}
    edges = {(label[edge["from"]].split("/")[-1], label[edge["to"]].split("/")[-1]) for edge in found["edges"]}
    assert edges == {
        ("dirty", "train.jsonl"), ("test", "train.jsonl"), ("train.jsonl", "prep"), ("train.jsonl", "grpo"),
        ("train.jsonl", "traces"), ("prep", "grpo"), ("grpo", "traces"), ("traces", "sft"), ("prep", "sft"),
        ("prep", "compare"),
    }  # fmt: skip
    order = [node["id"] for node in found["nodes"]]
    assert all(order.index(edge["from"]) < order.index(edge["to"]) for edge in found["edges"])
    kinds = {node["label"]: node["kind"] for node in found["nodes"]}
    assert (kinds["demo://dirty"], kinds["prep"], kinds["traces"]) == ("dirty", "prep_sft", "traces")


def test_every_node_has_a_name_of_its_own_that_says_something(tmp_path):
    hub = "/cache/models--Qwen--Qwen2.5-0.5B/snapshots/060db6499f32faf8b98477b0a26969ef7d8b9987"
    for group in ("monday", "tuesday"):
        (tmp_path / group).mkdir()
        for which, sha in (("a", "1"), ("b", "2")):
            train = ("train", f"/data/{group}/gsm/train.jsonl", f"{group}{sha}", None)
            made(
                tmp_path / group / which,
                "sft",
                [train, ("base_model", hub, "H", None), ("eval", f"/{which}/a", "E", None)],
            )
    entries = read_entries(find_runs([str(tmp_path)]), 10)
    assert sorted(e.name for e in entries) == ["monday/a", "monday/b", "tuesday/a", "tuesday/b"]
    labels = [node["label"] for node in lineage(entries)["nodes"]]
    assert sorted(labels) == sorted(set(labels))
    assert "Qwen/Qwen2.5-0.5B" in labels
    assert {f"/data/{g}/gsm/train.jsonl (version {v})" for g in ("monday", "tuesday") for v in (1, 2)} <= set(labels)


def test_a_file_that_a_later_run_made_too_is_no_ancestor(tmp_path):
    first = made(tmp_path / "first", "sft", [("train", "/data/rows.jsonl", "R", None)], minutes=1)
    made(tmp_path / "later", "traces", [("model", "first", "-", first.sha256)], [("rows.jsonl", "R")], minutes=2)
    found = lineage(read_entries(find_runs([str(tmp_path)]), 10))
    label = {node["id"]: node["label"] for node in found["nodes"]}
    assert {(label[e["from"]], label[e["to"]]) for e in found["edges"]} == {
        ("data/rows.jsonl", "first"),
        ("first", "later"),
    }


def test_training_time_is_that_of_the_sessions_where_it_was_recorded(tmp_path):
    rate = {"accuracy": {"estimate": 0.5, "low": 0.4, "high": 0.6, "n": 100}}
    run = made(tmp_path / "killed", "grpo", minutes=59, **rate)
    manifest = json.loads((run.path / "run.json").read_text())
    cost = {"seconds": 90.0, "sessions": 2, "devices": [], "tokens": [], "money": {}, "money_unknown": []}
    (run.path / "run.json").write_text(json.dumps(manifest | {"cost": cost}))
    assert [point["seconds"] for point in budgets(read_entries(find_runs([str(tmp_path)]), 10))] == [90.0]


def test_the_training_behind_a_run_is_counted_once(pipeline):
    minutes = {point["name"]: point["seconds"] / 60 for point in budgets(pipeline)}
    assert minutes == {"prep": 1, "grpo": 6, "sft": 8}


def test_a_comparison_is_no_model(pipeline):
    entries = {entry.name: entry for entry in pipeline}
    assert not entries["compare"].metrics
    assert entries["prep"].metrics
    assert not entries["traces"].examples  # its CSV is no evaluation's


def test_folders_without_runs_are_named(tmp_path):
    done = bench("report", tmp_path)
    assert done.exit_code == 1
    assert "no finished run" in done.output
