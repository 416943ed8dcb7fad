"""Process-reward data: labels of steps, from rows to a scorer that learns them."""

import json

import pytest
from click.testing import CliRunner

from tools_scorer.cli import main
from tools_scorer.traces.stepwise import LabelledSteps, is_stepwise, labelled_steps
from tools_shared.errors import UnusableError

TRL = {
    "prompt": "Blue is to red as up is to?",
    "completions": ["Up has an opposite.", "It is left."],
    "labels": [True, False],
}
CHAT = {
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is 91 prime?"}],
    "completions": [
        [{"role": "assistant", "content": "91 = 7 * 13."}],
        {"role": "assistant", "content": [{"type": "text", "text": "So it is not."}]},
    ],
    "labels": [1, 1.0],
}
SHEPHERD = {
    "input": "A jar holds 9 beans. Half are eaten? Step 1: 9 / 2 = 4.5 ки\nStep 2: The answer is: 5 ки",
    "label": "A jar holds 9 beans. Half are eaten? Step 1: 9 / 2 = 4.5 +\nStep 2: The answer is: 5 -",
    "task": "GSM8K",
}  # fmt: skip


def test_the_documented_shapes_are_read():
    assert all(map(is_stepwise, (TRL, CHAT, SHEPHERD)))
    assert not is_stepwise({"prompt": "q", "completion": "a", "label": True})
    assert labelled_steps(TRL) == LabelledSteps(TRL["prompt"], tuple(TRL["completions"]), (True, False))
    assert labelled_steps(CHAT) == LabelledSteps(
        "Be brief.\n\nIs 91 prime?", ("91 = 7 * 13.", "So it is not."), (True, True)
    )
    found = labelled_steps(SHEPHERD)
    assert found.question == "A jar holds 9 beans. Half are eaten?"
    assert found.steps == ("Step 1: 9 / 2 = 4.5", "Step 2: The answer is: 5")
    assert found.labels == (True, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": [True]}, "2 completions and 1 labels"),
        ({"labels": [True, -1]}, "label of step 2 is -1"),
        ({"labels": [None, True]}, "label of step 1 is None"),
        ({"labels": [True, "yes"]}, "label of step 2 is 'yes'"),
        ({"labels": "10"}, "'labels' is '10'"),
        ({"completions": ["a", "  "]}, "step 2 is '  '"),
        ({"completions": ["a", 7]}, "step 2 is 7"),
        ({"completions": []}, r"'completions' is \[\]"),
        ({"prompt": " "}, "'prompt' is ' '"),
        (
            {"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "'prompt' has turns of",
        ),
        ({"completions": [{"role": "user", "content": "a"}, "b"]}, "step 1 is"),
    ],
)
def test_a_row_that_cannot_be_used_says_which_value_and_what_helps(change, said):
    with pytest.raises(UnusableError, match=said):
        labelled_steps(TRL | change)


@pytest.mark.parametrize("label", ["short", SHEPHERD["label"].replace("-", "?"), 3])
def test_a_label_that_does_not_follow_its_input_is_refused(label):
    with pytest.raises(UnusableError, match="'label'"):
        labelled_steps(SHEPHERD | {"label": label})


def rows(n_questions: int):
    """A response of three steps to each; every second one goes wrong at its second step and says so."""
    for i in range(n_questions):
        for k in range(2):
            steps = [
                f"There are {i} boats on the lake.",
                "They all sail east, as the wind does.",
                f"So {i} boats sail.",
            ]
            if k:
                steps[1:] = ["I cannot say; no no no.", "No idea at all, no."]
            yield {"prompt": f"How many of the {i} boats sail?", "completions": steps, "labels": [True, not k, not k]}


@pytest.mark.slow
def test_a_scorer_is_trained_on_labelled_steps_in_one_command(tmp_path):
    data = tmp_path / "prm.jsonl"
    bad = {"prompt": "q", "completions": ["a"], "labels": [2]}
    data.write_text("".join(json.dumps(row) + "\n" for row in [*rows(40), bad]))
    words = ["train", "--data", data, "--model", "demo", "--config-name", "linear", "--output-dir", tmp_path / "run"]
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "81 attempts: 80 kept, 1 rejected" in done.output
    rejected = (tmp_path / "run-data" / "rejected.jsonl").read_text()
    assert "the label of step 1 is 2" in rejected
    made = [json.loads(line) for line in (tmp_path / "run-data" / "prm.jsonl").read_text().splitlines()]
    assert [row["step_labels"] for row in made[:2]] == [[True, True, True], [True, False, False]]
    assert [row["is_correct"] for row in made[:2]] == [True, False]
    words = [
        "evaluate",
        "--scorer",
        tmp_path / "run",
        "--data",
        tmp_path / "run-hidden",
        "--output-dir",
        tmp_path / "e",
    ]
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    steps = json.loads((tmp_path / "e" / "results.json").read_text())["steps"]
    assert steps["pooled"]["low"] > 0.6  # the first steps of wrong traces are right, and score so
    assert steps["within"]["estimate"] > 0.6


def test_rows_need_a_model_that_reads_them(tmp_path):
    (tmp_path / "prm.jsonl").write_text(json.dumps(TRL) + "\n")
    done = CliRunner().invoke(
        main, ["train", "--data", str(tmp_path / "prm.jsonl"), "--output-dir", str(tmp_path / "r")]
    )
    assert done.exit_code != 0
    assert "name the model that reads them with --model" in done.output


def test_an_export_that_a_selection_cannot_make_is_refused_before_rows_are_read(tmp_path):
    words = ["train", "--data", str(tmp_path / "none.jsonl"), "--model", "demo", "--select", "--export", "step-pt"]
    done = CliRunner().invoke(main, [*words, "--output-dir", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "--export step-pt cannot hold every read-out" in done.output
    assert not any(tmp_path.iterdir())
