"""Words, numbers, marks; and the report, which must show any text as text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools_dedup.report import render
from tools_dedup.words import normal_form, shared_marks, shared_numbers, shared_spans, terms, tokens

from .conftest import LEXICAL, write_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,000.50 and 007", {"#1000.5": 1, "and": 1, "#7": 1}),
        ("Three threes: 3", {"#3": 2, "three": 1}),
        ("1. Buying\n2. buys", {"buyin": 1, "buys": 1}),
        ("12 eggs, a dozen", {"#12": 2, "eggs": 1, "a": 1}),
        ("二十 cats", {"二": 1, "十": 1, "cats": 1}),
    ],
)
def test_terms(text, expected):
    assert dict(terms(text)) == expected


@given(st.text())
def test_tokens_stand_where_they_say(text):
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)


def test_long_hostile_text_takes_linear_time():
    for text in ("1," * 200_000, "1." * 200_000, "a" * 400_000, "9" * 400_000):
        assert terms(text)


def test_normal_form_sees_through_case_width_and_space():
    assert normal_form("Ｈｅｌｌｏ\u00a0  World\n") == normal_form("hello world")


def test_shared_evidence():
    first, second = "Anna buys 12 red apples at the market for 3 dollars.", "Ben buys 12 red apples and pays 3 dollars."

    assert shared_spans(first, second) == ["buys 12 red apples"]
    assert shared_numbers(first, second) == ["12", "3"]
    marks, _ = shared_marks(first, second)
    assert [first[a:b] for a, b in marks] == ["buys", "12", "red", "apples", "3", "dollars"]


def test_no_text_can_leave_its_place_in_the_report(dedup, folder):
    attack = (
        '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 & "quoted" words in a long enough text'
    )
    write_rows(folder / "train.jsonl", [{"question": attack, "answer": "#### 1"}] * 2)
    write_rows(folder / "test.jsonl", [{"question": attack, "answer": "#### 1"}])
    assert dedup(*LEXICAL).exit_code == 0
    page = (folder / "clean.report.html").read_text()

    assert page.count("<script") == 2
    assert "<img" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(data)["pairs"][0]["train"] == attack


def test_the_page_loads_nothing():
    page = render({"pairs": []})

    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page


def test_a_browser_shows_hostile_text_as_text(dedup, folder):
    browser = shutil.which("chromium")
    if not browser:
        pytest.skip("chromium is not installed; it shows the report")
    attack = "<img src=x onerror=\"document.title='owned'\"> and enough other words, 😀 included, to be compared"
    write_rows(folder / "train.jsonl", [{"question": attack, "answer": "#### 1"}])
    write_rows(folder / "test.jsonl", [{"question": attack, "answer": "#### 1"}])
    assert dedup(*LEXICAL).exit_code == 0
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
    )
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'browser'}", "--dump-dom"]
    page = (folder / "clean.report.html").as_uri()
    done = subprocess.run([browser, *flags, page], capture_output=True, text=True, timeout=120, check=True)

    assert "<title>dedup: clean.jsonl</title>" in done.stdout
    assert done.stdout.count('<article class="card">') == 1
    assert "<img" not in done.stdout
    assert "<mark>img</mark>" in done.stdout
    assert "<mark>included</mark>" in done.stdout, "marks stand right behind signs that JavaScript counts twice"


@given(st.text(st.characters(max_codepoint=127) | st.sampled_from("aB1.,\n -_"), max_size=60))
def test_ascii_texts_have_a_pattern_of_their_own_that_finds_the_same(text):
    from tools_dedup.words import _ASCII_PIECE, _PIECE

    assert _ASCII_PIECE.findall(text) == _PIECE.findall(text)


def test_counts_of_terms_are_those_of_each_text():
    """Rows taken in any order, and what two rows share, against counting one text at a time."""
    from tools_dedup.evidence import count_terms
    from tools_dedup.term_counts import shared_terms

    first = ["two cats and 2 dogs", "", "1. feed 12 cats\n2. feed 12 dogs", "猫 cats ½"]
    second = ["12 dogs, 12 cats", "nothing alike", "cats cats cats"]
    train, test = count_terms(first, second)
    assert [int(n) for n in train.length] == [sum(terms(text).values()) for text in first]
    rows = [2, 0, 2, 3, 1]
    others = [0, 2, 2, 0, 1]
    shared = shared_terms(train.counts.take(rows), test.counts.take(others))
    for i, (a, b) in enumerate(zip(rows, others, strict=True)):
        mine = shared.pair == i
        found = sorted(zip(*(side[mine].tolist() for side in shared.n), strict=True))
        one, other = terms(first[a]), terms(second[b])
        assert found == sorted((one[term], other[term]) for term in one.keys() & other.keys())
