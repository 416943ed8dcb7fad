"""What of a row is compared, whatever its shape; and what a template, a name or a flag may not do."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from tools_dedup.cli import main
from tools_dedup.input.contents import Keys, content_of
from tools_shared.errors import UnusableError

from .conftest import LEXICAL, read_rows, write_rows

ASKED, SAID = "Two buckets hold 8 and 13 litres. How many litres do they hold together?", "21"
USER, ASSISTANT = {"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    "row",
    [
        {"question": ASKED}, {"problem": ASKED}, {"prompt": ASKED}, {"instruction": ASKED}, {"Question": ASKED},
        {"query": ASKED, "response": SAID}, {"input": ASKED, "target": SAID}, {"content": ASKED},
        {"question": ASKED, "choices": ["20", "21"], "answer": 1}, {"prompt": [USER]}, {"messages": [USER]},
        {"prompt": ASKED, "chosen": SAID, "rejected": "22"}, {"chosen": [USER, ASSISTANT], "rejected": [USER]},
        {"messages": [USER, CALL, {"role": "tool", "content": "21"}, ASSISTANT]},
        {"conversations": [{"from": "human", "value": ASKED}, {"from": "function_call", "value": "{}"}]},
        {"prompt": [{"role": "system", "content": "Add."}, USER], "ground_truth": SAID},
        {"messages": [USER], "ground_truth": SAID, "dataset": "gsm8k"},
        {"prompt": [USER], "reward_model": {"ground_truth": SAID}}, {"problem": ASKED, "solution": SAID},
        {"instruction": ASKED, "input": "", "output": SAID}, {"text": ASKED}, {"prompt": ASKED, "completion": SAID},
    ],
)  # fmt: skip
def test_the_question_is_found_in_every_shape(row):
    assert content_of(row, Keys()).text == ASKED


def test_all_turns_of_the_user_are_compared():
    turns = [USER, ASSISTANT, {"role": "user", "content": "And with 4 more?"}]
    for row in ({"messages": turns}, {"prompt": turns, "ground_truth": "25"}):
        assert content_of(row, Keys()).text == f"{ASKED}\nAnd with 4 more?"


@pytest.mark.parametrize("value", [None, {"a": 1}, [{"a": 1}], [None]])
def test_a_template_puts_in_no_null_and_no_object(value):
    with pytest.raises(UnusableError, match="neither text nor a number"):
        content_of({"q": ASKED, "n": value}, Keys(template="{q} {n}"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--template", "constant"), "--template 'constant' names no field"),
        (("--model", "demo"), "--model demo is a language model, which gives no embeddings"),
        (("--test-path", "a=test.jsonl", "--test-path", "a=test.jsonl"), "2 test sets are called 'a'"),
    ],
)
def test_what_would_do_nothing_sensible_is_refused(dedup, words, reason):
    result = dedup(*words)
    assert result.exit_code == 1
    assert reason in result.output


def test_files_of_one_name_are_told_apart_by_their_folders(dedup, folder):
    for name in ("algebra", "geometry"):
        (folder / name).mkdir()
        write_rows(folder / name / "test.jsonl", [{"goal": f"Learn {name} well", "steps": ["Read a book."]}])
    words = ["--test-path", "algebra/test.jsonl", "--test-path", "geometry/test.jsonl"]
    train = [{"goal": "Learn geometry well", "steps": ["Read a book."]}, {"goal": "Sweep a floor", "steps": ["Do."]}]
    write_rows(folder / "train.jsonl", train)
    result = CliRunner().invoke(main, ["--train-path", "train.jsonl", *words, "--output-path", "o.jsonl", *LEXICAL])

    assert result.exit_code == 0, result.output
    assert json.loads((folder / "o.run.json").read_text())["metrics"]["removed_by_test_set"] == {"geometry-test": 1}


def test_a_file_without_a_test_set_is_not_called_one(folder):
    write_rows(folder / "data.jsonl", [{"question": "Name a river."}, {"question": "Add 2, 3 and 5."}])
    result = CliRunner().invoke(main, ["data.jsonl", "--within"])

    assert result.exit_code == 0, result.output
    assert "the training texts are mixed" in result.output
    assert len(read_rows(folder / "data.clean.jsonl")) == 2
