"""The number grammar: a text that is one number, and the numbers of running text."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.answers import find_numbers, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4,321", 4321),
        ("4{,}321", 4321),
        ("4~321", 4321),
        ("4 321", 4321),
        ("4\u202f321\u202f987", 4321987),
        ("4'321'987.5", Fraction(8643975, 2)),
        ("98,76,543", 9876543),
        ("98.765,25", Fraction(395061, 4)),
        ("98.765.432", 98765432),
        ("２７", 27),
        ("٢٧", 27),
        ("२७", 27),
        ("-２７．５", Fraction(-55, 2)),
        ("\u22127¾", Fraction(-31, 4)),
        ("7 3/4", Fraction(31, 4)),
        ("minus 9", -9),
        ("negative 9", -9),
        ("6 × 10⁴", 60000),
        ("6 \\cdot 10^{-2}", Fraction(3, 50)),
        ("10⁴", 10000),
        ("3^4", 81),
        ("-3^4", -81),
        ("0.\\overline{27}", Fraction(3, 11)),
        ("2.1\\bar{6}", Fraction(13, 6)),
        ("approximately 27", 27),
        ("\\approx 27", 27),
        ("≈27", 27),
        ("x = about 27", 27),
        ("Rs. 27", 27),
        ("27 sq. ft.", 27),
        ("27 of the eggs", 27),
        ("27 \\textnormal{ cm}", 27),
        ("27 \\operatorname{cm}", 27),
        ("2.7 million people", 2700000),
    ],
)
def test_a_text_that_is_one_number(text, value):
    assert parse_number(text).value == value


@pytest.mark.parametrize(
    "text",
    ["2,5", "1000,99", "1,00", "4,321,5", "1.2.3", "10:30", "2024-01-05", "7-9", "7, 9", "7 or 9", "7x", "1 2 3", "√7"],
)
def test_a_text_that_is_not_one_number(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so we get $\\frac{\\pi}{7}$", ["7 expression"]),
        ("it is \\frac{4\\sqrt{6}}{7}", ["4 expression", "6 expression", "7 expression"]),
        ("so $x \\in [-4, 9)$", ["-4 group", "9 group"]),
        ("\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix} and 5", ["1 group", "2 group", "3 group", "4 group", "5 number"]),
        ("the area is 6 cm^2", ["6 number", "2 index"]),
        ("$6\\text{ cm}^{3}$ in all", ["$6 number", "3 index"]),
        ("6 m2 of $H_2$O", ["6 number", "2 index", "2 index"]),
        ("about 6 × 10^4 m", ["6 × 10^4 number"]),
        ("it takes 2 3/4 or 2½ hours", ["2 3/4 number", "2½ number"]),
        ("un total de 4 500 euros", ["4 500 number"]),
        ("Es sind 7,25 Euro.", ["7,25 unclear"]),
        ("It was −8 then –9, it is - 7 degrees.", ["−8 number", "–9 number", "- 7 number"]),
        ("- 8 apples\n- 9 pears", ["8 number", "9 number"]),
        ("total - 8", ["8 number"]),
        ("8 = 12 - 4", ["8 number", "12 expression", "- 4 expression"]),
        ("20 - 4 = 16 and 4*4=16", ["20 e", "- 4 e", "16 number", "4 e", "4 e", "16 number"]),
        ("<<3*5=15>>15 <b>7</b>", ["3 e", "5 e", "15 number", "15 number", "7 number"]),
        ("2x + 3y < 8", ["2 expression", "+ 3 expression", "8 expression"]),
        ("at 10:45 on 2023-11-05, 12/25/2023", ["10:45 time", "2023-11-05 date", "12/25/2023 date"]),
        ("10–15 minutes", ["10–15 range"]),
        ("between 3 to 5 eggs", ["3 expression", "5 expression"]),
        ("the answer is 9! $9!$", ["9 number", "$9 expression"]),
        ("so **9** eggs\n* 9 and | 9 | and (9)", ["9 number", "9 number", "9 number", "9 number"]),
        ("It costs \\$1,250.50, or 5\\% less", ["\\$1,250.50 number", "5\\% number"]),
        ("COVID-19, top-10, 5-year-old", ["-19 index", "-10 index", "5 number"]),
        ("２７ and ٢٧", ["２７ number", "٢٧ number"]),
    ],
)
def test_the_numbers_of_running_text(text, found):
    got = [(text[slice(*f.span)], f.kind) for f in find_numbers(text)]
    want = [(w.rpartition(" ")[0], w.rpartition(" ")[2]) for w in found]
    assert got == [(digits, "expression" if kind == "e" else kind) for digits, kind in want]


PIECES = (
    "1 23 1,000 ,5 . , 4½ ½ \\frac{1}{2} \\frac12 - \u2212 – + * / = ^ _ { } ( ) [ ] $ \\$ € % \\% \\pi \\sqrt{ "
    "\\text{ x cm m2 e5 10^ 10^{3} × \\times \\, {,} ~ ' : to and is minus million \u0663 \\begin{matrix} "
    "\\end{matrix} ! **"
).split(" ")


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=120), st.lists(st.sampled_from([*PIECES, " ", "\n"]), max_size=30).map("".join)))
def test_what_is_found_is_read_alike_alone_and_lies_in_order(text):
    end = 0
    for found in find_numbers(text):
        assert end <= found.span[0] < found.span[1] <= len(text)
        end = found.span[1]
        assert (found.number is None) == (found.kind != "number")
        if found.number is not None:
            assert parse_number(text[slice(*found.span)]) == found.number
