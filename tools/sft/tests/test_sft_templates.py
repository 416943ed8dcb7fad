"""Conversations that a model's template refuses are rejected rows, not the end of the run."""

import json

import pytest
from click.testing import CliRunner
from zoo import save_model

from tools_sft.cli import main


def run(tmp_path, name, conversations, *args):
    turns = [[{"role": role, "content": text} for role, text in turns] for turns in conversations]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps({"messages": one}) + "\n" for one in turns))
    model = save_model(name, tmp_path / "model")
    words = ["--base-model", model, "--train-path", tmp_path / "talks.jsonl", "--no-eval"]
    words += ["--output-dir", tmp_path / "out", *args]
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


GOOD = [("user", "Boiling point of water?"), ("assistant", "100 C")]
ODD = [("user", "Hello."), ("user", "Are you there?"), ("assistant", "Yes.")]


@pytest.mark.parametrize("name", ["gemma2", "mistral"])
def test_turns_that_the_template_refuses_are_rejected_with_their_line(tmp_path, name):
    done = run(tmp_path, name, [GOOD, ODD, GOOD])
    assert done.exit_code == 0, done.output
    assert "3 rows read, 2 used, 1 rejected" in done.output
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert row["line"] == 2
    assert "chat template refuses it" in row["reason"]
    assert "turns alternate" in row["reason"]


def test_where_all_are_refused_the_first_is_named(tmp_path):
    done = run(tmp_path, "gemma2", [ODD])
    assert done.exit_code == 1
    assert "talks.jsonl:1: the model's chat template refuses it" in done.output


def test_the_mask_ends_with_the_end_of_the_turn(tmp_path):
    done = run(tmp_path, "phi3", [GOOD], "--dry-run")
    assert "⟦100 C<|end|>⟧" in done.output
