import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from tools_shared.engines import Completion
from tools_shared.evaluation import Graded, read_csv, write_csv
from tools_shared.files import csv_cells
from tools_shared.records import Problem

FORMULAS = [
    "=cmd|'/C calc'!A0",
    "+1+2",
    "-2+3+cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "＝1",
    "-x",
    "'=1",
    "''-3a",
    "=",
    "--3",
]
NUMBERS = ["-3", "+3", "-3.5", "-1,000", "-.5", "-2e-5", "-50%", "+0", "-50 %"]
cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(st.one_of(cells, st.sampled_from(FORMULAS + NUMBERS)), min_size=1))
def test_every_text_comes_back(texts):
    file = io.StringIO(newline="")
    csv_cells.Writer(file).rows(["a"], [{"a": text} for text in texts if text])
    file.seek(0)
    assert [row["a"] for row in csv_cells.read_dicts(file)] == [text for text in texts if text]
    file.seek(0)
    written = [row[0] for row in csv.reader(file)][1:]
    assert not [c for c in written if c.startswith(tuple("=+-@\t\r")) and not csv_cells._NUMBER.fullmatch(c)]


def test_numbers_stay_numbers_and_formulas_do_not():
    assert [csv_cells.guarded(n) for n in [*NUMBERS, -3, 2.5, None, True, "plain", "it's"]] == [
        *NUMBERS,
        -3,
        2.5,
        None,
        True,
        "plain",
        "it's",
    ]
    assert [csv_cells.guarded(f) for f in FORMULAS] == [f"'{f}" for f in FORMULAS]


def test_an_evaluation_written_for_a_spreadsheet_is_read_back_unchanged(tmp_path):
    question, answer = '=HYPERLINK("http://evil")', "-3"
    problem = Problem("q1", question, answer)
    completion = Completion("@x\r\ny\r", (1, 2), "stop")
    found = {"thinking": "+1 because", "answer": answer, "verdict": "correct", "method": "number", "well_formed": True}
    graded = [Graded(problem, completion, **found, lenient_answer="-3 km", lenient_correct=True)]
    write_csv(tmp_path / "a.csv", graded)
    written = next(csv.DictReader((tmp_path / "a.csv").open(newline="")))
    assert (written["question"], written["labeled_answer"]) == (f"'{question}", "-3")
    assert written["generated_text"] == "'@x\r\ny\r"
    row = read_csv(tmp_path / "a.csv")[0]
    assert row["question"] == question
    assert row["generated_text"] == "@x\r\ny\r"
    assert (row["extracted_thinking"], row["lenient_answer"], row["labeled_answer"]) == ("+1 because", "-3 km", "-3")
