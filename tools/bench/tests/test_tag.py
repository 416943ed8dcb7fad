"""Topics, bands and evidence."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.requests.items import grade_of
from tools_bench.tag import tag

DATA = Path(__file__).parents[4] / "shared" / "data"
SUBJECTS = {
    "Algebra": ({"algebra"}, 28, 50),
    "Intermediate Algebra": ({"intermediate algebra"}, 58, 60),
    "Number Theory": ({"number theory"}, 58, 75),
    "Precalculus": ({"precalculus"}, 80, 65),
    "Geometry": ({"geometry"}, 33, 80),
    "Counting & Probability": ({"counting", "probability"}, 60, 70),
}
"""MATH's subjects: our topics, and the precision and recall in percent that they must not fall below."""


def topics(question, **options):
    return {topic.name for topic in tag(question, **options).topics}


@pytest.mark.parametrize(
    ("question", "there", "not_there"),
    [
        ("What is 7 - 3?", "subtraction", "algebra"),
        ("A two-digit number is read aloud.", "number theory", "subtraction"),
        ("Her 5-year-old brother has 3 cars.", None, "subtraction"),
        ("What is 3 x 4?", "multiplication", "algebra"),
        ("Solve 3x + 4 = 25.", "algebra", "multiplication"),
        ("What is 3/4 of 20?", "fractions", "division"),
        ("A shirt costs $12.50.", "money", "decimals"),
        ("Round 12.53 to the nearest tenth.", "decimals", "money"),
        ("Find 15% of 80.", "percent", "ratios"),
        ("The bus leaves at 9:40 am.", None, "ratios"),
        ("Mix in the ratio 3:5.", "ratios", "division"),
        ("What is the temperature after -6 degrees rises by 4?", "integers", "algebra"),
        ("Find $\\sin 30^\\circ$.", "trigonometry", "geometry"),
        ("What is the derivative of $x^2$?", "calculus", "geometry"),
        ("The sinister plan was discovered by the class.", None, "trigonometry"),
    ],
)
def test_words_and_signs_in_their_places(question, there, not_there):
    found = topics(question)
    assert there is None or there in found
    assert not_there not in found


def test_evidence_and_bands():
    tags = tag("What is 20% of 150?")
    (percent,) = [topic for topic in tags.topics if topic.name == "percent"]
    assert percent.evidence == ("20%",)
    assert 0.5 <= percent.confidence < 1
    assert (tags.band, tags.because) == ("6-8", "topic percent")
    assert tag("What is 2 + 3?", grade="K").band == "K-2"
    assert tag("Hello!").topics == ()
    assert [grade_of(value) for value in (5.0, 5, "K", None, " ")] == ["5", "5", "K", None, None]


def test_a_file(tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "question": "What is 1/2 + 1/3?"}\n{"id": 2}\nnot json\n')
    words = ["tag", "--input", str(source), "--output", str(target), "--grade", "6"]
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (row,) = map(json.loads, target.read_text().splitlines())
    assert row["id"] == 1
    assert "fractions" in row["topic_tags"]
    assert row["grade_band"] == "6-8"
    assert "1 rows tagged, 2 rejected" in done.output


def test_a_grade_that_is_none_is_a_rejected_row(tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("question,grade\nWhat is 1/2 + 1/3?,\nWhat is 2 + 3?,Kindergarten\n")
    done = CliRunner().invoke(main, ["tag", "--input", str(source), "--output", str(target)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert len(target.read_text().splitlines()) == 1
    (rejected,) = map(json.loads, (tmp_path / "out.jsonl.rejected.jsonl").read_text().splitlines())
    assert rejected["line"] == 3
    assert rejected["reason"].startswith("\"grade\" is 'Kindergarten': grades are K and 1 to 12")


def test_a_file_that_stands_there_is_kept_when_there_is_nothing_to_write(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "What is 1/2 + 1/3?"}\n')
    (tmp_path / "out.jsonl").write_text("before\n")
    words = ["tag", "--input", str(tmp_path / "in.jsonl"), "--output"]
    done = CliRunner().invoke(main, [*words, str(tmp_path / "out.jsonl"), "--overwrite"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "1 rejected; first: " in done.output
    assert (tmp_path / "out.jsonl").read_text() == "before\n"
    done = CliRunner().invoke(main, [*words, str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 1
    assert "is a folder; name a file in it" in done.output


def test_wrong_words():
    done = CliRunner().invoke(main, ["tag", "--question", "x", "--grade", "13"], catch_exceptions=False)
    assert done.exit_code == 1
    assert "grades are K and 1 to 12" in done.output


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="MATH-500 (../shared/data) is not on this machine")
def test_subjects_of_math_500():
    rows = [json.loads(line) for line in (DATA / "math" / "math500.jsonl").open()]
    given = [topics(row["problem"]) for row in rows]
    for subject, (names, precision, recall) in SUBJECTS.items():
        right = sum(bool(found & names) and row["subject"] == subject for found, row in zip(given, rows, strict=True))
        n = sum(row["subject"] == subject for row in rows)
        assert 100 * right / n >= recall, subject
        assert 100 * right / sum(bool(found & names) for found in given) >= precision, subject
