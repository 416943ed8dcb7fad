"""Test texts inside longer rows, and rows inside longer test texts, in shapes and scripts that are not the demo's."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tools_dedup.config import DedupConfig
from tools_dedup.run import decontaminate

from .conftest import read_rows, write_rows

DATA = Path(__file__).parents[4] / "shared" / "data"
FERRY = (
    "A ferry carries 48 cars on its lower deck and 17 vans on its upper deck. Each car pays 12 euros and each van pays "
    "twenty-one euros. How much does the ferry earn on one crossing?"
)
POND = "The area of lilies on a pond doubles every day. If the pond is covered on day 30, when was it half covered?"
CODE = (
    "def longest_plateau(values):\n    best = run = 0\n    for i, v in enumerate(values):\n"
    "        run = run + 1 if i and v == values[i - 1] else 1\n        best = max(best, run)\n    return best"
)
CHOICE = "Which organelle produces most of a liver cell's ATP ?\nA. nucleus\nB. mitochondrion\nC. ribosome\nD. lysosome"
CHINESE = "一艘渡轮的下层甲板载有48辆汽车，上层甲板载有17辆货车，每辆汽车付12欧元，渡轮一次航行收入多少？"
HINDI = "एक नाव के निचले डेक पर 48 कारें और ऊपरी डेक पर 17 वैन हैं, हर कार 12 यूरो देती है, कुल कमाई कितनी है?"
LATEX = r"Let $f(x) = \frac{3x + 7}{x^2 - 5}$ for all real $x \ne \pm\sqrt{5}$. Find the value of $f(2) \cdot f(-3)$."
TESTS = [FERRY, POND, CODE, CHOICE, CHINESE, HINDI, LATEX]
OTHER = [
    "A baker sells 31 loaves in the morning and 26 in the afternoon. How many loaves does he sell on that day?",
    "Explain in two sentences why the sky is red in the evening and blue at noon.",
]


def letters(text):
    return "".join(sign for sign in text if sign.isalnum())


def removed(rows, tests=TESTS, **options):
    """How each row was removed, None where it stays."""
    config = DedupConfig(method=("exact", "lexical"), **options)
    found = decontaminate(rows, [{"text": text} for text in tests] if isinstance(tests[0], str) else tests, config)
    return [match["removed_by"] for match in found.matches], found


def wrapped(text, how):
    shots = "".join(f"Question: {q}\nAnswer: it is so.\n\n" for q in OTHER)
    turns = [("user", OTHER[0]), ("assistant", "57"), ("user", "And another?"), ("assistant", "Yes.")]
    if how == "shots":
        return {"text": f"{shots}Question: {text}\nAnswer:"}
    if how == "instruction":
        return {"text": "You are a careful assistant who thinks before speaking. " * 12 + text}
    if how == "three":
        return {"text": f"{OTHER[0]} {text} {OTHER[1]}"}
    if how == "other field":
        return {"text": OTHER[1], "metadata": {"variants": [{"original": text}]}}
    at = {"user turn": 2, "assistant turn": 3}[how]
    turns[at] = (turns[at][0], text)
    return {"messages": [{"role": role, "content": content} for role, content in turns], "text": OTHER[0]}


@pytest.mark.parametrize("how", ["shots", "instruction", "three", "other field", "user turn", "assistant turn"])
@pytest.mark.parametrize("number", range(len(TESTS)))
def test_a_test_text_word_for_word_in_a_longer_row_goes(how, number):
    reasons, found = removed([wrapped(TESTS[number], how), {"text": OTHER[1]}], text_key="text")

    assert reasons == ["contains", None]
    told = found.matches[0]
    assert told["nearest_test_idx"] == number
    assert told["contains"]["inside"] == "test in row"
    assert letters(" ".join(told["contains"]["spans"])) == letters(TESTS[number])


def test_the_places_are_those_of_the_row():
    row = wrapped(FERRY, "assistant turn")
    _, found = removed([row], text_key="text")
    (place,) = found.matches[0]["contains"]["places"]

    assert place["key"] == "messages.3.content"
    assert row["messages"][3]["content"][place["start"] : place["end"]] == FERRY.rstrip("?")


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: re.sub(r"(\S+)", r"**\1**", text),
        lambda text: re.sub(r"\s+", " \n ", text),
        lambda text: re.sub(r"[!-/:-@\[-`{-~？，।]", " ", text),
        lambda text: re.sub(r"(\d+)", r"$\1$", text),
        lambda text: text.translate({48 + d: 0xFF10 + d for d in range(10)}),
    ],
    ids=["case", "markdown", "white space", "no punctuation", "latex", "full width"],
)
@pytest.mark.parametrize("number", [0, 1, 3, 4, 5])
def test_formatting_hides_nothing(change, number):
    reasons, _ = removed([wrapped(change(TESTS[number]), "shots")], text_key="text")

    assert reasons == ["contains"]


def test_a_question_split_over_two_turns_goes():
    words = FERRY.split(" ")
    turns = ["Hello! " + " ".join(words[:16]), "Go on, I am listening.", " ".join(words[16:]), "It earns 933 euros."]
    roles = ("user", "assistant") * 2
    row = {"messages": [{"role": role, "content": text} for role, text in zip(roles, turns, strict=True)]}

    assert removed([row], [{"question": FERRY, "answer": "#### 933"}])[0] == ["contains"]


def test_other_numbers_and_other_objects_stay():
    rows = [
        FERRY.replace("48", "49"),
        FERRY.replace("twenty-one", "22"),
        POND.replace("30", "31"),
        "Write a function that gives the nth octagonal number of a list.",
    ]
    tests = [*TESTS, "Write a function that gives the nth tetrahedral number of a list."]

    reasons, _ = removed([wrapped(text, "instruction") for text in rows], tests, text_key="text")
    assert "contains" not in reasons


def test_short_test_texts_must_be_whole_sentences_or_whole_texts():
    tests = ["What is 7 times 8?", "Who wrote Hamlet?", "Prove Fermat's little theorem."]
    rows = [
        "Warm up first. What is 7 times 8? Then go on with the harder ones, please.",
        "Tell me what is 7 times 8 plus 3 and then stop at once.",
        "Who wrote Hamlet?",
        "He asked the class: who wrote Hamlet? Nobody in the whole room knew it.",
        "- Prove Fermat's little theorem.\n- Prove Wilson's theorem about primes.",
    ]

    reasons, _ = removed([{"text": text} for text in rows], tests, text_key="text")
    assert [r in ("contains", "exact") for r in reasons] == [True, False, True, False, True]


def test_what_a_template_repeats_is_no_evidence():
    head = "Solve the following problem step by step and put only your final answer into the last line of the reply."
    tests = [
        f"{head} {word} borrows {n} books and returns {n - 3}." for n, word in enumerate("Ann Bea Cid Dov".split(), 9)
    ]
    rows = [{"text": f"{head} {OTHER[0]}"}, {"text": f"Well then. {tests[2]}"}]

    assert removed(rows, tests, text_key="text")[0][0] is None
    assert removed([rows[1]], tests, text_key="text")[0] == ["contains"]


def test_a_row_inside_a_longer_test_text_goes():
    passage = f"Read the passage.\n{FERRY} The captain wrote it all down in his book.\nNow answer: {POND}"

    reasons, found = removed(
        [{"text": POND}, {"text": OTHER[0]}], [passage, "Something else entirely."], text_key="text"
    )
    assert reasons == ["contains", None]
    assert found.matches[0]["contains"]["inside"] == "row in test"


def test_a_rows_fate_by_containment_does_not_depend_on_other_rows():
    row = wrapped(FERRY, "shots")
    alone, _ = removed([row], text_key="text")
    among, _ = removed([*({"text": f"{OTHER[0]} {i}"} for i in range(300)), row, row], text_key="text")

    assert alone == ["contains"]
    assert among[-2:] == ["contains"] * 2


def test_the_run_says_it_and_rethreshold_leaves_it(dedup, folder):
    from click.testing import CliRunner

    from tools_dedup.cli import main

    write_rows(folder / "train.jsonl", [wrapped(FERRY, "shots"), {"text": OTHER[1]}])
    write_rows(folder / "test.jsonl", [{"text": text} for text in TESTS])
    result = dedup("--method", "exact", "--method", "lexical", "--text-key", "text")

    assert "1 removed (1 contains)" in result.output
    page = json.loads(re.search(r'id="data">(.*?)</script>', (folder / "clean.report.html").read_text(), re.DOTALL)[1])
    assert page["pairs"][0]["train"] == FERRY.rstrip("?")
    words = ("rethreshold", "--run-path", "clean.run.json", "--threshold", "0.999", "--output-path", "again.jsonl")
    assert CliRunner().invoke(main, words).exit_code == 0
    assert read_rows(folder / "again.jsonl") == [{"text": OTHER[1]}]


@pytest.mark.real_data
def test_gsm8k_questions_in_longer_rows_are_found_and_clean_rows_stay():
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there; it holds GSM8K")
    train, test = (read_rows(DATA / "gsm8k" / name) for name in ("train.jsonl", "test.jsonl"))
    rows = []
    for i in range(200):
        shots = "\n\n".join(f"Question: {s['question']}\nAnswer: {s['answer']}" for s in train[3 * i : 3 * i + 3])
        rows.append({"question": f"{shots}\n\nQuestion: {test[2 * i + 1]['question']}", "answer": "#### 1"})
    found = decontaminate([*train[:3000], *rows], test, DedupConfig(method=("exact",)))
    gone = [match["train_idx"] for match in found.matches if match["removed_by"]]

    assert sum(i >= 3000 for i in gone) >= 199
    assert sum(i < 3000 for i in gone) <= 6


def test_the_index_finds_every_pair_that_shares_an_indexed_run():
    """Against a dictionary of the runs, on texts of few words, many of which share runs."""
    from collections import Counter, defaultdict

    from tools_dedup.containment.shingles import MOST_SHARING, RUN, STRIDE, ShingleIndex

    drawn = random.Random(4)
    words = [drawn.choice("alpha beta gamma delta epsilon zeta".split()) for _ in range(40_000)]
    tests = [" ".join(words[at : at + drawn.randrange(RUN, 14)]) for at in range(0, 30_000, 14)]
    tests += [f"{' '.join(words[:RUN])} own{n} words{n}" for n in range(90)]
    rows = [" ".join(words[at : at + 40]) for at in range(20_000, 32_000, 61)]
    owners = defaultdict(list)
    for number, text in enumerate(tests):
        own = text.split()
        last = len(own) - RUN
        for at in sorted({*range(0, last + 1, STRIDE), last}):
            owners[tuple(own[at : at + RUN])].append(number)
    kept = {run: set(found) for run, found in owners.items() if len(found) <= MOST_SHARING}
    assert len(kept) < len(owners)
    bare = set(range(len(tests))) - set().union(*kept.values())
    expected = Counter()
    for n, row in enumerate(rows):
        own = row.split()
        for run in {tuple(own[at : at + RUN]) for at in range(len(own) - RUN + 1)}:
            expected.update((n, test) for test in kept.get(run, ()))

    found = zip(*(part.tolist() for part in ShingleIndex(tests).find(rows)), strict=True)
    assert {(row, test) for row, test, _ in found if test not in bare} == set(expected)
    assert set(ShingleIndex(tests).n_runs.tolist()) > {1}, "a text whose runs all stand in many has one of them"
    assert ShingleIndex(tests).n_runs.min() >= 1


def test_the_index_takes_less_than_a_kibibyte_a_test_text():
    """While it is built, numpy's arrays and Python's own objects together."""
    import tracemalloc

    from tools_dedup.containment.shingles import ShingleIndex

    drawn = random.Random(5)
    words = [f"w{n}" for n in range(20_000)]
    tests = [" ".join(drawn.choices(words, k=47)) for _ in range(20_000)]
    tracemalloc.start()
    try:
        ShingleIndex(tests)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(tests) < 1024


FOREIGN = [
    "Ein Bauer hat 1.250 H\u00fchner und kauft einundzwanzig dazu. Wie viele Eier legen sie alle in 2,5 Tagen?",
    "Une \u00e9cole a 1.500 \u00e9l\u00e8ves et vingt-cinq dans chaque classe. Combien de classes est-ce en tout ?",
    "Una tienda vende treinta y dos camisas por 12,50 euros cada una. \u00bfCu\u00e1ntos euros recibe por las camisas?",
]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("around", ["english", "others", "alone"])
def test_a_copy_is_found_whatever_the_language_around_it(text, around):
    english = "How many of the 1,200 apples that are in the box have to be sold if the shop has 3 workers each day?"
    before = {"english": [english] * 3, "others": [one for one in FOREIGN if one != text], "alone": []}[around]
    row = {"question": "\n\n".join([*before, text, "Think."]), "answer": "7"}
    config = DedupConfig(method=("exact",))
    assert decontaminate([row], [{"question": text}], config).matches[0]["removed_by"] == "contains"
    other = text.replace("1.250", "1.260").replace("1.500", "1.600").replace("12,50", "12,60")
    row["question"] = "\n\n".join([*before, other, "Think."])
    assert decontaminate([row], [{"question": text}], config).matches[0]["removed_by"] is None
