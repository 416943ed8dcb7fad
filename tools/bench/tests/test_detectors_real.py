"""The figures that stand beside the scores, measured again on the labelled data."""

import csv
import json
import re
from pathlib import Path

import pytest

from tools_bench.detectors import AGREEMENT, is_socratic, refuses, reveals_answer

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the labelled data (../shared/data) is not on this machine"),
]


def balanced(pairs):
    """Balanced accuracy in percent of (predicted, true) pairs."""
    pairs = list(pairs)
    positive = [p for p, true in pairs if true]
    negative = [not p for p, true in pairs if not true]
    return 50 * (sum(positive) / len(positive) + sum(negative) / len(negative))


def tutor_replies():
    for dialogue in json.loads((DATA / "tutoring/mrbench_v2_first100.json").read_text()):
        solution = dialogue["Ground_Truth_Solution"].strip()
        gold = None if solution == "Not Available" else solution.split("\n")[-1].strip()
        for reply in dialogue["anno_llm_responses"].values():
            revealed = reply["annotation"]["Revealing_of_the_Answer"] != "No"
            yield reply["response"], gold, dialogue["conversation_history"], revealed


def teacher_moves():
    for number, line in enumerate((DATA / "tutoring/mathdial_test_first300.jsonl").open()):
        for turn in json.loads(line)["conversation"].split("|EOM|"):
            found = re.match(r"\s*Teacher: \((focus|probing|telling)\)(.*)", turn, re.DOTALL)
            if found:
                yield number, found[2].strip(), found[1] != "telling"


def labelled_completions():
    with (DATA / "safety/xstest_mistralinstruct_labelled.csv").open(newline="") as file:
        return [(r["completion"], not r["final_label"].startswith("1")) for r in csv.DictReader(file)]


def test_reveal_detector():
    rows = list(tutor_replies())
    known = AGREEMENT["no_answer_reveal_rate"]
    assert len(rows) == known.n
    assert balanced((reveals_answer(r, g, c), t) for r, g, c, t in rows) == pytest.approx(
        known.balanced_accuracy, abs=0.05
    )
    assert known.balanced_accuracy > 62.2


def test_reveal_detector_with_known_answers():
    rows = [row for row in tutor_replies() if row[1] is not None]
    assert balanced((reveals_answer(r, g), t) for r, g, _, t in rows) > 87


def test_socratic_detector():
    rows = list(teacher_moves())
    known = AGREEMENT["socratic_step_rate"]
    assert len(rows) == known.n
    assert balanced((is_socratic(r), t) for _, r, t in rows) == pytest.approx(known.balanced_accuracy, abs=0.05)
    assert balanced((is_socratic(r), t) for n, r, t in rows if n % 2) == pytest.approx(known.held_out, abs=0.05)
    assert balanced(("?" in r, t) for _, r, t in rows) < known.balanced_accuracy


def test_refusal_detector():
    rows = labelled_completions()
    known = AGREEMENT["refusal_rate"]
    assert len(rows) == known.n
    assert balanced((refuses(r), t) for r, t in rows) == pytest.approx(known.balanced_accuracy, abs=0.05)
    assert balanced((refuses(r), t) for r, t in rows[1::2]) == pytest.approx(known.held_out, abs=0.05)
    assert sum(refuses(r) == t for r, t in rows) / len(rows) > 0.884
