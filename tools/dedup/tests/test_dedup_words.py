"""Words, numbers, marks; and the report, which must show any text as text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools_dedup.lexical.words import marks, normal_form, shared_numbers, shared_spans, terms, tokens
from tools_dedup.output.report import render

from .conftest import LEXICAL, write_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,000.50 and 007", {"#1000.5": 1, "and": 1, "#7": 1}),
        ("Three threes: 3", {"#3": 2, "three": 1}),
        ("1. Buying\n2. buys", {"buyin": 1, "buys": 1}),
        ("12 eggs, a dozen", {"#12": 2, "eggs": 1}),
        ("二十 cats", {"#20": 1, "cats": 1}),
    ],
)
def test_terms(text, expected):
    assert dict(terms(text)) == expected


@given(st.text())
def test_tokens_stand_where_they_say(text):
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)


def test_long_hostile_text_takes_linear_time():
    spelt = ("twenty " * 30_000, "hundred " * 30_000, "1/" * 100_000, "1 1" * 90_000, "千" * 90_000, "ก" * 90_000)
    for text in (
        *spelt,
        "9" * 5000 + " million",
        "9" * 5000 + "½",
        "é" + "9 999 " * 60_000,
        "1," * 200_000,
        "1." * 200_000,
        "a" * 400_000,
        "9" * 400_000,
    ):
        assert terms(text)


def test_normal_form_sees_through_width_composition_and_space():
    assert normal_form("Ｈｅｌｌｏ\u00a0  Wo\u0308rld\n") == normal_form("Hello W\u00f6rld")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Give 2⁵ + 3²", "Give 25 + 32"),
        ("H₂O", "H2O"),
        ("1½ cups", "11/2 cups"),
        ("a ∪ A", "A ∪ a"),
        ("for x in y:\n    s += x\n    return s", "for x in y:\n    s += x\nreturn s"),
        ("if (a) {\n  b();\n}\nc();", "if (a) {\n  b();\n  c();\n}"),
    ],
)
def test_equal_forms_mean_the_same(first, second):
    assert normal_form(first) != normal_form(second)


def test_code_may_be_indented_by_tabs_and_trailed_by_blanks():
    assert normal_form("def f(x):\n\treturn x  \n\n") == normal_form("def f(x):\n        return x")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("twenty-five", "25"), ("Two hundred and five", "205"), ("SEVENTY-TWO", "72"), ("٢٥", "25"), ("२५", "25"),
        ("２５", "25"), ("二十五", "25"), ("三百零七", "307"), ("2 million", "2000000"), ("1.5 million", "1500000"),
        ("three quarters", "0.75"), ("3/4", "0.75"), ("¾", "0.75"), ("\\frac{3}{4}", "0.75"), ("2½", "2.5"),
        ("two and a half", "2.5"), ("2 1/2", "2.5"), ("half", "0.5"), ("0.50", "0.5"), ("two-thirds", "2/3"),
        ("1,500", "1500"), ("1 500", "1500"), ("1\u202f500,5 und der", "1500.5"), ("und der 1.250", "1250"),
        ("half a dozen", "6"), ("1/2 a dozen", "6"),
        ("1 1/2 dozen", "18"), ("3 quarters", "0.75"), ("a fifth of", "0.2"), ("two dozen", "24"),
        ("one hundred twenty thousand", "120000"),
        ("\\dfrac{3}{4}", "0.75"), ("\\tfrac 12", "0.5"), ("3\u20444", "0.75"), ("1\u2019500", "1500"),
        ("1\u202f500", "1500"),
    ],
)  # fmt: skip
def test_a_number_is_its_value_however_it_is_spelt(text, number):
    assert [term for term in terms(text) if term.startswith("#")] == ["#" + number]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Er hat einundzwanzig Enten, wie viele sind das?", "21"), ("Wie viele von zweihundertfünf sind das?", "205"),
        ("Wie viel kostet das bei anderthalb Litern und der Milch?", "1.5"), ("Die Hälfte ist für sie", "0.5"),
        ("Es sind zwei Dutzend für jeden", "24"), ("Das sind 2,5 Millionen und der Rest", "2500000"),
        ("Das sind drei Viertel mit dem Rest", "0.75"),
        ("Il a vingt et un chats et elle est là", "21"), ("Combien est quatre-vingt-dix-sept ?", "97"),
        ("Elle est à mille deux cents pour les deux", None), ("Combien coûte la moitié avec les frais ?", "0.5"),
        ("Combien de trois quarts est-ce pour elle ?", "0.75"), ("Il y a une douzaine dans le sac", "12"),
        ("¿Cuántos son treinta y dos para los niños?", "32"), ("Él tiene doscientos cinco para los", "205"),
        ("La mitad es para los niños, cada una", "0.5"), ("Ogni giorno ha ventotto mele, quanti sono per gli", "28"),
        ("Quanti sono duecentocinque con gli altri?", "205"), ("Quantas são vinte e cinco para cada um?", "25"),
        ("Quantos são mil e quinhentos em cada?", "1500"),
    ],
)  # fmt: skip
def test_number_words_of_other_languages(text, number):
    found = [term for term in terms(text) if term.startswith("#")]
    assert found == (["#1200", "#2"] if number is None else ["#" + number])


@pytest.mark.parametrize(
    "text",
    [
        "Once the rent is due, the elf may go to Des Moines or Los Angeles and pay 1,500 dollars",
        "A die is cast in Las Vegas, and how many of the 1,500 guests are from Los Angeles?",
    ],
)
def test_names_make_no_other_language_of_english(text):
    assert [term for term in terms(text) if term.startswith("#")] == ["#1500"]


def test_a_name_in_capitals_is_one_word_before_any_sign():
    assert list(terms("USA\u2019s GR\u00d6SSE")) == ["usa", "s", "gr\u00f6ss"]
    assert list(terms("HTTPServer\u2019s")) == ["http", "serve", "s"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("48/2 = 24", 3),
        ("on 1/2/2020", 3),
        ("the third day", 0),
        ("twenty students, five teachers", 2),
        ("2⁵", 2),
        ("一样的", 0),
    ],
)
def test_what_are_several_numbers_or_none(text, numbers):
    assert sum(n for term, n in terms(text).items() if term.startswith("#")) == numbers


@pytest.mark.parametrize("text", ["हिन्दी", "fu\u0308nf", "ខ្ញុំ", "மொழி"])
def test_vowel_signs_and_marks_cut_no_word(text):
    assert len(terms(text)) == 1
    assert list(terms("fu\u0308nf")) == list(terms("fünf"))


def test_shared_evidence():
    first, second = "Anna buys 12 red apples at the market for 3 dollars.", "Ben buys 12 red apples and pays 3 dollars."

    assert shared_spans(first, second) == ["buys 12 red apples"]
    assert shared_numbers(first, second) == ["12", "3"]
    (found, _), _ = marks(first, second)
    assert [first[a:b] for a, b in found] == ["buys", "12", "red", "apples", "3", "dollars"]


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
    from tools_dedup.lexical.words import _ASCII_PIECE, _PIECE

    assert _ASCII_PIECE.findall(text) == re.findall(_PIECE, text)


_HARD = (
    "half |a |dozen |two |-fifths |3/4 |1 1/2|/|\\frac{1}{2}|hundred |and |1. |\n2. |1,500 |und |der |of |third |"
    "\u00bd |camelCase |5 |Million |twenty|\u2019s |9 999 |"
    "wie viele |zwei |einundzwanzig |Viertel |les |est |quatre|-vingt|cents |USA"
).split("|")


@given(st.lists(st.sampled_from(_HARD), max_size=12).map("".join))
def test_pieces_are_those_that_are_found_with_their_places(text):
    from tools_dedup.lexical.words import pieces, term_of

    assert [term for piece in pieces(text) if (term := term_of(piece))] == [token.term for token in tokens(text)]


_TEXTS = st.lists(
    st.sampled_from([" ", "  ", "lo", "low", "er", "\u2581", "\n", "\u00e9", "<s>", "x", " the", "."]), max_size=9
)


@given(_TEXTS.map("".join))
def test_tokens_of_words_are_those_of_the_text(text):
    from tools_dedup.semantic.word_tokens import WordTokens

    whole = _llama_like()
    one_by_one = WordTokens(whole)
    assert one_by_one._by_word
    assert one_by_one.ids([text, text]) == [whole.encode(text, add_special_tokens=False).ids] * 2


def test_tokens_of_words_are_not_used_where_a_token_goes_past_a_blank():
    from tools_dedup.semantic.word_tokens import WordTokens

    assert not WordTokens(_llama_like(("w\u2581",)))._by_word
    assert WordTokens(_llama_like(("w\u2581",))).ids(["low low"]) == [_llama_like(("w\u2581",)).encode("low low").ids]


def _llama_like(more=()):
    """BPE over whole texts, in which blanks are a sign."""
    from tokenizers import Tokenizer, models, normalizers

    merged = ["lo", "low", "er", "\u2581lo", "\u2581\u2581", "th", "\u2581th", "\u2581the", *more]
    known = ["<unk>", "<s>", *"\u2581lowerthx.\n", *merged]
    pairs = [
        ("l", "o"),
        ("lo", "w"),
        ("e", "r"),
        ("\u2581", "lo"),
        ("\u2581", "\u2581"),
        ("t", "h"),
        ("\u2581", "th"),
        ("\u2581th", "e"),
    ]
    pairs += [tuple(piece) for piece in more]
    made = Tokenizer(models.BPE({piece: n for n, piece in enumerate(dict.fromkeys(known))}, pairs, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.add_special_tokens(["<s>"])
    return made


def test_counts_of_terms_are_those_of_each_text():
    """Rows taken in any order, and what two rows share, against counting one text at a time."""
    from tools_dedup.lexical.evidence import count_terms
    from tools_dedup.lexical.term_counts import shared_terms

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
