"""The report of a large run: every removal can be found, the doubtful ones first, and the page stays of a size."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tools_dedup.output import report

from .conftest import LEXICAL, write_rows

NAMES = "lark heron crane stork swift raven finch robin eagle egret".split()


@pytest.fixture
def many(folder):
    """Forty test questions, each of them twice in the training set, once with other words around it."""
    asked = [f"How many of the {name}s that nest on cliff {n} return in spring?" for n in range(4) for name in NAMES]
    write_rows(folder / "test.jsonl", [{"question": text} for text in asked])
    write_rows(folder / "train.jsonl", [{"question": t} for text in asked for t in (text, f"{text} Give a number.")])
    return asked


def page_data(folder) -> dict:
    page = (folder / "clean.report.html").read_text(encoding="utf-8")
    start = page.index('id="data">') + len('id="data">')
    return json.loads(page[start : page.index("</script>", start)])


def test_every_removal_is_on_the_page_the_doubtful_ones_whole(dedup, folder, many, monkeypatch):
    monkeypatch.setattr(report, "MOST_REMOVED", 10)
    assert dedup(*LEXICAL).exit_code == 0
    data = page_data(folder)

    assert data["metrics"]["n_removed"] == 80 == len([p for p in data["pairs"] if p["removed_by"]]) + len(data["brief"])
    assert len({one["train_line"] for one in (*data["pairs"], *data["brief"])}) == 80
    assert max(p["score"] for p in data["pairs"] if p["removed_by"]) <= min(one["score"] for one in data["brief"])
    assert data["n_left_out"] == 0


@pytest.mark.parametrize(("most_bytes", "most_brief"), [(4000, 20), (0, 5)])
def test_the_page_is_bounded_and_says_what_is_left_out(dedup, folder, many, monkeypatch, most_bytes, most_brief):
    monkeypatch.setattr(report, "MOST_REMOVED", 10)
    monkeypatch.setattr(report, "MOST_BYTES", most_bytes)
    monkeypatch.setattr(report, "MOST_BRIEF", most_brief)
    assert dedup(*LEXICAL).exit_code == 0
    data = page_data(folder)

    assert len(json.dumps([p for p in data["pairs"] if p["removed_by"]])) <= most_bytes + 100
    assert data["n_left_out"] == 80 - sum(bool(p["removed_by"]) for p in data["pairs"]) - len(data["brief"]) > 0


def test_a_browser_finds_what_is_not_shown_whole(dedup, folder, many, monkeypatch):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed; it shows the report")
    monkeypatch.setattr(report, "MOST_REMOVED", 10)
    assert dedup(*LEXICAL).exit_code == 0
    last = page_data(folder)["brief"][-1]["test"]
    words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    address = f"file://{folder}/clean.report.html#search={last.replace(' ', '%20')}"
    shown = subprocess.run([*words, address], capture_output=True, text=True, timeout=120, check=True).stdout

    assert shown.count('<article class="card">') == 2
    assert "the beginnings of both texts" in shown
    assert "80 rows reach it" in shown


def test_rows_of_a_test_set_that_could_not_be_used_are_named(dedup, folder, many):
    with (folder / "test.jsonl").open("a") as file:
        file.write('{"question": 5}\n')
    with (folder / "train.jsonl").open("a") as file:
        file.write("no json\n")
    assert dedup(*LEXICAL, "--allow-incomplete-test").exit_code == 0

    assert [(row["set"], row["line"]) for row in page_data(folder)["rejected"]] == [("test", 41), (None, 81)]
