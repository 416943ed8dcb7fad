"""The dashboard: whole, from file://, and deaf to what models write."""

import html.parser
import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from tools_bench.cli import main

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
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90).stdout
    assert "<title>A &lt;b&gt;title&lt;/b&gt;</title>" in dom  # no script of a model's has run
    assert "owned'&lt;/script&gt;" in dom  # and its text is there to be read
    assert "<img" not in dom
    assert dom.count('role="row"') + dom.count("<tr>") > 5
    for words in ("2 runs, 2 with results", "attacker against plain", "30 of 30"):
        assert words in dom


def test_folders_without_runs_are_named(tmp_path):
    done = bench("report", tmp_path)
    assert done.exit_code == 1
    assert "no finished run" in done.output
