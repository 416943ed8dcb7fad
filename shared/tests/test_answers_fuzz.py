"""Any text at all: no exception, and time that grows with the length alone."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.answers import extract, gold_answer, parse_number
from tools_shared.answers.equal import _decide
from tools_shared.prompts import PROFILES

PIECES = (
    "<start_working_out> <end_working_out> <SOLUTION> </SOLUTION> <think> </think> \\boxed{ } { #### A: answer is "
    "\\frac \\frac{ \\dfrac34 \\text{ \\left( \\sqrt \\pi ^\\circ \\! , . 1 23 1,000 / - \u2212 % \\% $ e5 e999 "
    "\\times 10^ ½ x= or = ( ) [ ] ^ _ dollars million \u0661 ** ` \\ \n \\( \\) \\[ \\] $$ <|im_end|> "
    "because if and to 答案是 Answer: \\fbox{ minus cm^2 x \\in Note: ?"
).split(" ")
TEXT = st.one_of(st.text(max_size=300), st.lists(st.sampled_from([*PIECES, " "]), max_size=40).map("".join))
MEGABYTE = [
    piece * (1_000_000 // len(piece))
    for piece in (
        "\\boxed{", "\\boxed{}", "{", "}", "####", "#### 1\n", "\n", " ", "answer is ", "answer to a ", "A: ", "A: 1\n",
        "1", "1,", "1,111", "1.", "-", "1/", "1e", "\\frac{1", "\\frac{1}{2}", "\\dfrac{-", "\\text{", "$", "\\!",
        "**", "<SOLUTION>", "</SOLUTION>", "<SOLUTION>1</SOLUTION>", "<start_working_out>", "<end_working_out>",
        "x= ", "½", "*_", "$ ", "$1$ ", "\\( x \\) ", "\\begin{align}", "\\begin{align}1\\end{align}", "x=1, ", "((1,",
        "Answer: x ", "the answer is 1 ", "1 000 ", "1. A", "</s>", "<|", "\\boxed 1 ", "\\fbox{", "- 1. ", "答案是1",
        "1 and ", "1 = 2 = ", "1\\text{", "m^2 ", "1 1/2 ", "minus 1 ", "(1,2) ", "\\{", "| 1 |\n", "? ", "if 1, ",
        "Ａ１", "1'", "x_1 ", "your answer ", "\\boxed{\\text{a } 1 ", "for 1ing ", "1 to 2 ", "because 1, ",
    )
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(TEXT, st.sampled_from(sorted(PROFILES)), st.booleans(), st.booleans())
def test_extract_never_raises_and_points_into_the_text(text, profile, opened, lenient):
    found = extract(text, PROFILES[profile], opened=opened, lenient=lenient)
    assert (found.answer is None) == (found.method == "none") == (found.span is None)
    if found.answer is not None:
        assert text[slice(*found.span)].strip() == found.answer


@settings(max_examples=400, deadline=None)
@given(TEXT, TEXT)
def test_deciding_without_algebra_never_raises(gold, given_answer):
    verdict = _decide(gold, given_answer)
    assert verdict is None or verdict.method in ("exact", "number", "text", "list", "limit")
    same = _decide(gold, gold)
    assert same.status in ("correct", "gold_invalid")


@settings(max_examples=300, deadline=None)
@given(st.integers(-(10**30), 10**30), st.integers(1, 10**6))
def test_numbers_written_out_are_read_back_exactly(top, bottom):
    assert parse_number(f"{top:,}").value == top
    assert parse_number(f"{top}/{bottom}").value * bottom == top
    assert parse_number(f"\\frac{{{top}}}{{{bottom}}}").value * bottom == top
    assert not _decide(str(top), str(top + 1)).correct


@pytest.mark.parametrize("text", MEGABYTE, ids=lambda text: repr(text[:24]))
def test_a_megabyte_takes_less_than_a_second(text):
    for profile in (PROFILES["gsm8k-tags"], PROFILES["think"]):
        begin = time.process_time()
        extract(text, profile, lenient=True)
        gold_answer(text)
        _decide("18", text)
        _decide(text, "18")
        assert time.process_time() - begin < 1.0
