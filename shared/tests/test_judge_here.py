"""A judge loaded in this process: the probabilities that its own tokens have."""

import json
import math

import pytest
import yaml

from tools_shared.errors import Incomplete
from tools_shared.judging import Judge, Question, load_rubric
from tools_shared.judging.agreement import agreement_line, keep_agreement
from tools_shared.judging.stated import read_logprobs, stated

FIGURES = {"estimate": 0.9, "low": 0.8, "high": 0.95, "n": 40}


@pytest.mark.parametrize(
    ("tokens", "said", "expected"),
    [
        (["{", '"', "ok", '"', ": ", "true", "}"], {"ok": True}, {"ok": 0.5}),
        (['{"ok"', ":", " fal", "se", "}"], {"ok": False}, {"ok": 1 - 0.25}),
        (['{"a": true, "ok": ', "no", "}"], {"a": True, "ok": False}, {"a": 0.5, "ok": 0.5}),
        (['Is "ok": false? No: {"ok": ', "true}"], {"ok": True}, {"ok": 0.5}),
        (['{"score": ', "7", "}"], {"score": 7.0}, {}),
        ([], {"ok": True}, {}),
    ],
)
def test_a_verdicts_words_have_the_probability_of_their_tokens(tokens, said, expected):
    found = stated(tokens, [math.log(0.5)] * len(tokens), said)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    "data",
    [None, {}, {"choices": []}, {"choices": [{"logprobs": None}]}, {"choices": [{"logprobs": {"content": [1]}}]}],
)
def test_replies_without_probabilities(data):
    assert read_logprobs(data) == ([], [])


def test_the_demo_model_judges_here_and_its_failures_are_counted(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"score": [0, 10], "judge": {"model": "demo", "max_tokens": 8, "max_failed": 1}}))
    judge = Judge(load_rubric(path))

    verdicts = judge.ask_stated([Question({"prompt": "2 + 2", "reply": "4"}), Question({"prompt": "a", "reply": "b"})])

    assert len(verdicts) == 2
    assert judge.spent.n_asked == 2
    assert judge.spent.n_failed == sum(verdict is None for verdict in verdicts)
    assert judge.n_unanswered == 0


def test_what_is_too_long_for_a_judge_here_fails_alone_and_its_tokens_have_a_budget(tmp_path):
    path = tmp_path / "r.yaml"
    options = {"model": "demo", "max_tokens": 8, "max_failed": 1, "budget_tokens": 500}
    path.write_text(yaml.safe_dump({"score": [0, 10], "judge": options}))
    judge = Judge(load_rubric(path))

    judge.ask([Question({"prompt": "2 + 2", "reply": "4 " * 6000})])

    assert (judge.spent.n_asked, judge.spent.n_failed, judge.spent.tokens_in) == (1, 1, 0)
    assert "does not fit into the judge's context of 4096" in judge.last_failure
    with pytest.raises(
        Incomplete, match="budget of 500 tokens does not cover the next judgement .*raise budget_tokens"
    ):
        for n in range(20):
            judge.ask([Question({"prompt": "2 + 2", "reply": f"{n}"})])
    assert 0 < judge.spent.tokens_in + judge.spent.tokens_out <= 500


def test_the_agreement_of_a_run_is_in_the_run_and_holds_for_its_words_only(tmp_path):
    run = tmp_path / "judge"
    run.mkdir()
    (run / "run.json").write_text("{}")
    path = tmp_path / "r.yaml"

    def rubric(ask="It works.", **judge):
        given = {"name": "r", "criteria": [{"name": "works", "ask": ask}], "judge": {"model": str(run), **judge}}
        path.write_text(yaml.safe_dump(given))
        return load_rubric(path)

    measured = {"criteria": {"works": {"n": 40, "balanced_accuracy": FIGURES, "kappa": FIGURES}}}
    assert keep_agreement(rubric(), path, measured) == run / "agreement.json"

    line = "works balanced accuracy 90.0 % [80.0, 95.0], kappa 0.90 [0.80, 0.95], n=40"
    assert agreement_line(rubric(), path) == f"agreement with people's labels: {line}"
    assert "not measured" in agreement_line(rubric("It is safe."), path)
    served = rubric(endpoint="http://localhost:1/v1", agreement=str(run), model="works")
    assert line in agreement_line(served, path)
    assert "not measured" in agreement_line(rubric(endpoint="http://localhost:1/v1", model="works"), path)
    assert json.loads((run / "agreement.json").read_text())
