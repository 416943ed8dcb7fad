"""IFEval's 25 kinds of instructions: for each a reply that follows it, some that do not, and what loosely forgives."""

import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.instructions import CHECKS, check, follows, follows_loosely
from tools_bench.grading.instructions.contents import count_sentences
from tools_bench.requests.instructions import instructions_of

POEM = "The river keeps its quiet course. It carries leaves to the sea."
CASES = {
    "keywords:existence": (
        {"keywords": ["tide", "Harbour"]},
        ["The harbour fills as the tide comes in."],
        ["The harbour is full.", "Time and water."],
    ),
    "keywords:frequency": (
        {"keyword": "kelp", "frequency": 2, "relation": "at least"},
        ["Kelp feeds urchins; kelp shelters fish."],
        ["Kelp grows fast.", "No seaweed here."],
    ),
    "keywords:forbidden_words": (
        {"forbidden_words": ["cat", "rain"]},
        ["The category is train travel."],
        ["A Cat sat down.", "It will rain."],
    ),
    "keywords:letter_frequency": (
        {"letter": "z", "let_frequency": 3, "let_relation": "less than"},
        ["Zebras graze."],
        ["Zigzag lizards doze."],
    ),
    "language:response_language": (
        {"language": "de"},
        ["Der Fluss führt im Frühjahr sehr viel Wasser, und die Wiesen stehen unter Wasser."],
        ["The river carries a lot of water in spring and the meadows are flooded."],
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "at least"},
        ["Dr. Osei left at 5 p.m. on Friday. She took the bus. Why?"],
        ["Dr. Osei met Mr. J. Lund, e.g. at 3.5 km. They spoke."],
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 3},
        ["One.\n\n***\n\nTwo.\n***\nThree.", "***\nOne.\n***\nTwo.\n***\nThree.\n***"],
        ["One.\n\nTwo.\n\nThree.", "One.\n***\n\n***\nThree."],
    ),
    "length_constraints:number_words": (
        {"num_words": 6, "relation": "less than"},
        ["Five words are not six."],
        ["These are six words in all."],
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "however"},
        ["Salt is common.\n\n**However**, it was once dear."],
        ["However, salt is common.\n\nIt was dear.", "Salt.\n\nHowever.\n\nMore."],
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 2},
        ["Dear [name], come to [place]."],
        ["Dear [name], come soon."],
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        ["See you.\nP.S. Bring a coat.", "See you.\np. s. bring a coat"],
        ["See you. Bring a coat.", "See you.\nP.P.S. Bring a coat."],
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 2},
        ["Two things:\n* salt\n* pepper", "- salt\n- pepper"],
        ["* salt", "* salt\n* pepper\n- mint", "**salt** and **pepper**"],
    ),
    "detectable_format:constrained_response": ({}, ["My answer is maybe."], ["Maybe.", "My answer is perhaps."]),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        ["*Salt* and **pepper**."],
        ["*Salt* and pepper.", "****  and * *", "2 * 3 * 4 are * one"],
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "PART", "num_sections": 2},
        ["PART 1\nSalt.\nPART 2\nPepper."],
        ["PART 1\nSalt.", "APART 1 APART 2"],
    ),
    "detectable_format:json_format": (
        {},
        ['{"salt": [1, 2]}', '```json\n{"salt": true}\n```'],
        ['Here it is: {"salt": 1}', "{salt: 1}"],
    ),
    "detectable_format:title": ({}, ["<<On salt>>\nIt was dear."], ["<On salt>", "<< >>\nIt was dear."]),
    "combination:two_responses": (
        {},
        ["Walk more.\n******\nEat less."],
        ["Walk more.", "Walk.\n******\nWalk.", "One\n******\nTwo\n******\nThree"],
    ),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "Name a salt lake."},
        ["Name a salt lake.\nLake Natron."],
        ["Lake Natron.", "You ask: Name a salt lake."],
    ),
    "startend:end_checker": (
        {"end_phrase": "Any questions?"},
        ["Salt was dear. Any questions?", 'Salt was dear. "Any questions?"'],
        ["Any questions? Salt was dear."],
    ),
    "startend:quotation": ({}, ['"Salt was dear."'], ['Salt was "dear".', '"']),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["NASA and the WELL-KNOWN lake."],
        ["NASA and the lake."],
    ),
    "change_case:english_capital": (
        {},
        ["THE RIVER CARRIES A LOT OF WATER IN SPRING."],
        ["The river carries water.", "DER FLUSS FÜHRT IM FRÜHJAHR SEHR VIEL WASSER UND EIS."],
    ),
    "change_case:english_lowercase": (
        {},
        ["the river carries a lot of water in spring."],
        ["The river carries water.", "der fluss führt im frühjahr sehr viel wasser und eis."],
    ),
    "punctuation:no_comma": ({}, ["Salt and pepper."], ["Salt, pepper."]),
}


def test_every_kind_is_tested():
    assert set(CASES) == set(CHECKS)
    assert len(CHECKS) == 25


@pytest.mark.parametrize("kind", CASES)
def test_a_reply_follows_an_instruction_or_does_not(kind):
    parameters, good, bad = CASES[kind]
    instruction = {"id": kind, **parameters}
    check(instruction)
    assert [reply for reply in good if not follows(reply, instruction)] == []
    assert [reply for reply in (*bad, "", " \n ") if follows(reply, instruction)] == []
    assert all(follows_loosely(reply, instruction) for reply in good)
    assert not follows_loosely("", instruction)


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("detectable_format:json_format", 'Sure, here it is:\n{"salt": 1}\nI hope this helps.'),
        ("combination:repeat_prompt", "Certainly!\nName a salt lake.\nLake Natron."),
        ("startend:end_checker", "Salt was dear. **Any questions?**"),
        ("startend:quotation", '"Salt was dear."\n(42 words)'),
        ("punctuation:no_comma", "Sure, gladly.\nSalt and pepper."),
        ("change_case:english_lowercase", "Here it is:\nthe river carries a lot of water in spring."),
        ("length_constraints:number_words", "Sure, here is the text for you:\nFive words are not six."),
    ],
)
def test_loosely_forgives_asterisks_and_lines_around(kind, reply):
    instruction = {"id": kind, **CASES[kind][0]}
    assert not follows(reply, instruction)
    assert follows_loosely(reply, instruction)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("One sentence without an end", 1),
        ("Is it? Yes! It is.", 3),
        ("It was 1999. Then came 2000.", 2),
        ("1. Boil water.\n2. Add salt.", 2),
        ('He said: "Go." She went.', 2),
        ("यह एक वाक्य है। यह दूसरा है।", 2),
        ("水开了。放盐。", 2),
        ("", 0),
        ("...", 0),
    ],
)
def test_sentences_are_counted(text, n):
    assert count_sentences(text) == n


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"instruction_id_list": ["punctuation:no_coma"]}, "did you mean 'punctuation:no_comma'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, 'keywords:existence has no "keywords"'),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "one object for each of the 1"),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 5, "relation": "around"}],
            },
            "'around'",
        ),
        ({"prompt": "Write."}, 'no "instruction_id_list"'),
    ],
)
def test_an_instruction_that_cannot_be_checked_is_refused(row, message):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        instructions_of(row)
    assert message in str(caught.value)


def test_tables_give_every_instruction_every_parameter():
    """Parquet and CSV: absent parameters are null, and a CSV cell holds the list as text."""
    row = {
        "instruction_id_list": json.dumps(["punctuation:no_comma", "keywords:existence"]),
        "kwargs": json.dumps([{"keywords": None, "num_words": None}, {"keywords": ["salt"], "num_words": None}]),
    }
    assert [dict(one) for one in instructions_of(row)] == [
        {"id": "punctuation:no_comma"},
        {"id": "keywords:existence", "keywords": ["salt"]},
    ]


def test_a_run_counts_prompts_and_instructions(serve, tmp_path):
    """Two prompts with one and three instructions, of which one is broken; strictly none of the second is complete."""
    rows = [
        {"key": 1, "prompt": "Write of salt.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        {
            "key": 2,
            "prompt": "Write of pepper.",
            "instruction_id_list": ["punctuation:no_comma", "startend:quotation", "detectable_format:title"],
            "kwargs": [{}, {}, {}],
        },
    ]
    data = tmp_path / "asked.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = {"Write of salt.": "Salt, dear.\nSalt was dear.", "Write of pepper.": '"<<Pepper>> was dearer"'}
    for name, replies in (("one", said), ("two", {**said, "Write of pepper.": "<<Pepper>> was dearer"})):

        def answer(path, body, number, replies=replies):
            assert [m["role"] for m in body["messages"]] == ["user"]
            reply = {"message": {"content": replies[body["messages"][-1]["content"]]}, "finish_reason": "stop"}
            return 200, {"choices": [reply]}, {}

        words = ["--model-name", name, "--endpoint", f"{serve(answer).url}/v1", "--output-dir", tmp_path]
        done = CliRunner().invoke(main, ["run", "--data", str(data), *map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "one" / "benchmark_results.json").read_text())
    found = results["evaluations"]["instruction_following"]
    assert [found[name] for name in ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose")] == [
        0.5,
        1,
        0.75,
        1,
    ]
    words = ["compare", tmp_path / "one", tmp_path / "two", "--output-dir", tmp_path / "c"]
    assert CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False).exit_code == 0
    compared = json.loads((tmp_path / "c" / "comparison.json").read_text())["metrics"]["instruction_strict"]
    assert (compared["baseline"], compared["current"]) == (pytest.approx(0.75), pytest.approx(0.5))
