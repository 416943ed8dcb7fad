"""Multiple choice: the layouts of rows, the letter that a reply settles on, the order of options, position bias."""

import json
import random
import re

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.grading.choice import chosen_letter
from tools_bench.requests.choices import options_of, permuted
from tools_bench.requests.items import read_task
from tools_bench.requests.suite import Task
from tools_shared.prompts import PROFILES

METALS = ["iron", "copper", "zinc", "silver"]


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": {"text": METALS, "label": ["A", "B", "C", "D"]}, "answerKey": "C"}, "zinc"),
        ({"choices": {"text": METALS, "label": ["1", "2", "3", "4"]}, "answerKey": "1"}, "iron"),
        ({"choices": METALS, "answer": 2}, "zinc"),
        ({"choices": METALS, "answer": "2"}, "zinc"),
        ({"options": METALS, "answer": "D", "answer_index": 3}, "silver"),
        ({"options": json.dumps(METALS), "answer": "(b)"}, "copper"),
        ({"options": METALS, "answer": "copper"}, "copper"),
        ({"options": {"A": "iron", "B": "zinc"}, "answer": "B"}, "zinc"),
        ({"options": [{"label": "A", "text": "iron"}, {"label": "B", "text": "zinc"}], "answer": "B"}, "zinc"),
        ({"options": ["A) 21", "B) 22.5", "C) 23"], "correct": "B"}, "22.5"),
        ({"mc1_targets": {"choices": METALS, "labels": [0, 1, 0, 0]}}, "copper"),
        ({"mc1_targets": {"iron": 0, "zinc": 1}}, "zinc"),
        ({"Correct Answer": "zinc", "Incorrect Answer 1": "iron", "Incorrect Answer 2": "tin"}, "zinc"),
        ({"correct_answer": "zinc", "distractor1": "iron", "distractor2": "tin", "distractor3": "lead"}, "zinc"),
        ({"correct_answer": "zinc", "incorrect_answers": ["iron", "tin"]}, "zinc"),
        ({"A": "iron", "B": "zinc", "C": "tin", "answer": "B"}, "zinc"),
        ({"option_a": "iron", "option_b": "zinc", "answer": "B"}, "zinc"),
        ({"endings": ["it fell", "it rose"], "label": "1"}, "it rose"),
        ({"choices": [3, 4, 5], "answer": 1}, "4"),
        ({"choices": ["2", "3", "1", "0"], "answer": 0}, "2"),
        ({"choices": {"text": ["2", "4", "1"], "label": ["1", "2", "3"]}, "answerKey": "1"}, "2"),
        ({"choices": {"text": ["AB", "A", "B"], "label": ["A", "B", "C"]}, "answerKey": "B"}, "A"),
        ({"options": ["iron", "zinc", "tin", "", None], "answer": "C"}, "tin"),
        ({"options": [f"{n} kg" for n in range(10)], "answer": "J"}, "9 kg"),
        ({"options": ["iron", "iron", "zinc"], "answer": 2}, "zinc"),
    ],
)
def test_the_layouts_of_rows(row, right):
    texts, place = options_of(row)
    assert texts[place] == right


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": METALS, "answer": 4}, "'4', which is no option"),
        ({"choices": METALS, "answer": "gold"}, "'gold', which is no option"),
        ({"choices": [1, 0], "answer": 0}, "and the text of another"),
        ({"choices": ["iron", "iron"], "answer": 0}, "occurs twice"),
        ({"choices": ["iron"], "answer": 0}, "1 options"),
        ({"choices": ["iron", "", "zinc"], "answer": 0}, "option B is empty"),
        ({"choices": ["iron", None, "zinc"], "answer": 0}, "option B is empty"),
        (
            {"choices": {"text": ["iron", "tin", " "], "label": ["A", "B", "C"]}, "answerKey": "C"},
            "right option is empty",
        ),
        ({"choices": ["AB", "A", "B"], "answer": "B"}, "and the text of another"),
        ({"choices": METALS}, "nothing says which option is right"),
        ({"choices": METALS, "answer": None}, "nothing says which option is right"),
        ({"choices": METALS, "answer": True}, "no letter, number or text"),
        ({"mc1_targets": {"choices": METALS, "labels": [1, 1, 0, 0]}}, "nothing says"),
        ({"question": "Which?"}, "no options in the row"),
    ],
)
def test_options_that_cannot_be_used(row, message):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        options_of(row)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(C)", "C"),
        ("**D.**", "D"),
        ("B. copper", "B"),
        ("C) zinc", "C"),
        ("The answer is B.", "B"),
        ("The correct answer is (C).", "C"),
        ("the answer is **D**", "D"),
        ("Answer: A", "A"),
        ("Final answer: option B", "B"),
        (r"so $\boxed{C}$", "C"),
        (r"\boxed{\text{(D)}}", "D"),
        (r"\boxed{\textbf{B. copper}}", "B"),
        ("zinc", "C"),
        ("It rusts.\n\nThe best choice is A", "A"),
        ("I would choose C.", "C"),
        ("Option B is correct, since copper conducts.", "B"),
        ("First I thought the answer is A. But copper conducts, so the answer is B.", "B"),
        ("<think>maybe the answer is A</think>The answer is D.", "D"),
        ("A metal conducts. The answer is not among my memories.", None),
        ("A or B", None),
        ("A, C", None),
        ("I do not know.", None),
        ("E", None),
        ("", None),
    ],
)
def test_the_letter_of_a_reply(reply, letter):
    assert chosen_letter(reply, PROFILES["boxed"], False, METALS) == letter


@pytest.mark.parametrize(
    "last", ["All of the above", "None of these", "Both A and C", "A and B only", "Neither of them"]
)
def test_options_that_speak_of_each_other_keep_their_order(last):
    given = ["iron", "zinc", last], 1
    assert all(permuted(given, seed, "q") is given for seed in range(5))


def test_the_order_depends_on_the_seed_and_the_item_alone():
    given = METALS, 0
    orders = [permuted(given, seed, f"task/{i}") for seed in range(3) for i in range(100)]
    assert orders == [permuted(given, seed, f"task/{i}") for seed in range(3) for i in range(100)]
    places = [right for _, right in orders]
    assert all(45 < places.count(place) < 110 for place in range(4))
    assert all(texts[right] == "iron" and sorted(texts) == sorted(METALS) for texts, right in orders)


def rows_of_elements(n):
    rng = random.Random(3)
    for i in range(n):
        options = rng.sample(range(10, 99), 4)
        yield {"id": f"z{i}", "question": f"Which is the largest: {options}?", "choices": options, "answer": 0} | {
            "answer": options.index(max(options))
        }


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(serve, tmp_path, name, answer, *words, n=60):
    def reply(path, body, number):
        said = answer(body["messages"][-1]["content"])
        return 200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}, {}

    data = write(tmp_path / "largest.jsonl", rows_of_elements(n))
    server = serve(reply)
    done = bench(
        "run", "--data", data, "--model-name", name, "--endpoint", f"{server.url}/v1", "--output-dir", tmp_path, *words
    )
    assert done.exit_code == 0, done.output
    return server, json.loads((tmp_path / name / "benchmark_results.json").read_text()), done.output


def shown(prompt):
    return dict(re.findall(r"^([A-Z])\. (\d+)$", prompt, re.MULTILINE))


def test_a_run_knows_the_kind_and_grades_the_letter(serve, tmp_path):
    def right(prompt):
        options = shown(prompt)
        return f"\\boxed{{{max(options, key=lambda letter: int(options[letter]))}}}"

    _, results, _ = run(serve, tmp_path, "right", right)
    found = results["evaluations"]["multiple_choice"]
    assert (found["total"], found["choice_accuracy"], found["choice_answer_proportion"]) == (60, 1, 1)
    assert set(found["groups"]["right_option"]) == set("ABCD")
    assert found["positions"]["p_value"] > 0.01


def test_a_model_that_prefers_a_place_is_shown(serve, tmp_path):
    _, results, output = run(serve, tmp_path, "biased", lambda prompt: "The answer is (C).")
    found = results["evaluations"]["multiple_choice"]
    assert found["positions"]["chosen"] == {"A": 0, "B": 0, "C": 1, "D": 0}
    assert found["positions"]["p_value"] < 0.001
    assert "position bias" in output
    assert 0.1 < found["choice_accuracy"] < 0.45


def test_another_seed_shows_another_order_and_is_not_compared_unasked(serve, tmp_path):
    first, *_ = run(serve, tmp_path, "one", lambda prompt: "A")
    second, *_ = run(serve, tmp_path, "two", lambda prompt: "A", "--seed", 1)
    assert {body["messages"][-1]["content"] for _, _, body in first} != {
        body["messages"][-1]["content"] for _, _, body in second
    }
    refused = bench("compare", tmp_path / "one", tmp_path / "two", "--output-dir", tmp_path / "c")
    assert refused.exit_code == 1
    assert "differ" in refused.output


def test_items_are_read_back_as_they_were_asked(tmp_path):
    data = write(tmp_path / "q.jsonl", rows_of_elements(5))
    read = read_task(Task("q", "choice", str(data)), seed=4)
    assert [type(item).from_json(json.loads(json.dumps(item.to_json()))) for item in read.items] == read.items
