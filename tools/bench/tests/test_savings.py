"""What the rules would have saved: against rules that really stopped traces, and on votes that are known."""

import json
import random

import numpy as np
import pytest
from browser import browser, needs_chromium
from watched import NEVER, PLAIN, make_scorer

from tools_bench.config import EvaluateConfig, SavingsConfig
from tools_bench.evaluate import run_evaluation
from tools_bench.savings.curves import draw_curves
from tools_bench.savings.page import page
from tools_bench.savings.publish import run_savings
from tools_bench.savings.replay import at_random, by_agreement, by_confidence, by_step
from tools_bench.savings.samples import WholeTrace, read_samples
from tools_bench.savings.words import verdicts
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError

CALL = Invocation("tools-bench", "test")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return make_scorer(tmp_path_factory.mktemp("scorer"), "demo")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, scorer):
    """`--prune` with these rules over six questions, eight samples each; the run's folder."""
    folder = tmp_path_factory.mktemp("runs")
    profile = {"name": PLAIN.name, "system": PLAIN.system, "answer": list(PLAIN.answer)}
    (folder / "plain.yaml").write_text(json.dumps(profile))

    def run(name, *rules):
        config = EvaluateConfig(
            eval_data=("demo://problems?split=test&size=6",), samples=8, sample_temperature=1.0, dtype="fp32",
            eval_max_new_tokens=70, profile=str(folder / "plain.yaml"), prune=rules, output_dir=str(folder / name),
        )  # fmt: skip
        if not (folder / name).exists():
            run_evaluation(config, CALL)
        return folder / name

    return run


def rows_of(run):
    return [json.loads(line) for line in (run / "samples.jsonl").open()]


@pytest.mark.slow
def test_the_replay_is_what_the_rules_do(evaluated, scorer):
    """Token by token; `evaluate` hands samples of all questions to one batch, in any order."""
    whole = evaluated("whole", f"step:{scorer}<0", *NEVER)
    questions = read_samples(whole)
    means = [np.mean([p for _, p in sample.steps]) for question in questions for sample in question if sample.steps]
    least = float(np.quantile(means, 0.4))
    for name, rules, replay in (
        ("step", (f"step:{scorer}<{least}",), lambda question: by_step(question, least)),
        ("confidence", ("confidence:4<70%",), lambda question: by_confidence(question, 70.0)),
    ):
        stopped = rows_of(evaluated(name, *rules))
        told = [stop for question in questions for stop in replay(question)]
        assert [row["n_tokens"] for row in stopped] == [stop.n_tokens for stop in told]
        assert ["pruned" in row for row in stopped] == [stop.is_stopped for stop in told]
        assert any(stop.is_stopped for stop in told)


@pytest.mark.slow
def test_savings_are_a_run_with_a_page(evaluated, scorer, tmp_path):
    whole = evaluated("whole", f"step:{scorer}<0", *NEVER)
    run_savings(SavingsConfig(run=str(whole), output_dir=str(tmp_path / "out")), CALL)
    found = json.loads((tmp_path / "out" / "savings.json").read_text())
    assert set(found["rules"]) == {"step", "confidence", "agree"}
    assert len(found["fewer"]) == 8
    html = (tmp_path / "out" / "report.html").read_text()
    assert html.count("<svg") == 1
    assert "majority of 3" in html
    rows = rows_of(whole)
    assert found["n_tokens"] == sum(row["n_tokens"] for row in rows)
    assert all("pruned" not in row for row in rows)


@pytest.mark.slow
def test_every_sample_of_a_settled_question_is_there(evaluated):
    rows = rows_of(evaluated("agree", "agree:0.6"))
    assert len(rows) == 48
    assert {row["pruned"]["rule"] for row in rows if "pruned" in row} == {"agree:0.6"}
    for row in rows:
        assert row["n_tokens"] == row.get("pruned", row | {"tokens": row["n_tokens"]})["tokens"]
        assert not ("pruned" in row and row["is_correct"] and row["n_tokens"] == 0)


def question(rng, telling, k=8, length=40):
    """Traces of which half are right; a step's probability tells it as far as `telling` goes."""
    samples = []
    for _ in range(k):
        right = rng.random() < 0.45
        steps = [(n, min(1, max(0, 0.5 + telling * (right - 0.5) + rng.gauss(0, 0.05)))) for n in (8, 16, 24, 32)]
        answer = 0 if right else 1 + rng.randrange(2)
        samples.append(WholeTrace(answer, right, length + rng.randrange(10), steps, [(16, rng.uniform(1, 9))]))
    return samples


def test_a_scorer_that_tells_right_from_wrong_is_said_to_pay_and_one_that_does_not_is_not():
    rng = random.Random(0)
    good, idle = ([question(rng, telling) for _ in range(120)] for telling in (0.8, 0.0))
    said = verdicts(draw_curves(good, seed=0))[0]
    assert said.startswith("step: beats fewer samples at the same tokens"), said
    assert "better than stopping traces at random at 0 of" not in said
    for sentence in verdicts(draw_curves(idle, seed=0))[:2]:  # agree: needs no telling
        assert " beats " not in sentence, sentence


def test_a_question_stops_at_the_sample_that_settles_it():
    same = [WholeTrace(0, True, 10 + k, (), ()) for k in range(9)]
    stops = by_agreement(same, 1.0)
    assert [stop.is_stopped for stop in stops] == [False] * 5 + [True] * 4
    assert [stop.n_tokens for stop in stops] == [10, 11, 12, 13, 14, 0, 0, 0, 0]
    split = [WholeTrace(k % 3, k % 3 == 0, 10, (), ()) for k in range(9)]
    assert not any(stop.is_stopped for stop in by_agreement(split, 1.0))


def test_random_pruning_stops_as_many_after_the_same_shares():
    rng = random.Random(1)
    mine = question(rng, 0.5, k=16)
    stops = by_step(mine, 0.5)
    lots = at_random(mine, stops, np.random.default_rng(0))
    assert sum(stop.is_stopped for stop in lots) == sum(stop.is_stopped for stop in stops) > 0
    assert [stop.is_stopped for stop in lots] != [stop.is_stopped for stop in stops]


def attempt(question, sample, answer, verdict, **more):
    """A line of the journal of tools-traces."""
    return {
        "id": question, "sample": sample, "response": f"I get\u2028{answer}\u0085", "reasoning": None, "answer": answer,
        "verdict": verdict, "verified": False, "finish_reason": "stop", "n_tokens": 20 + sample, "token_ids": None,
        "score": None, "pruned": None, "steps": None, "confidence": None, **more,
    }  # fmt: skip


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_attempts_of_tools_traces_are_samples_too(tmp_path, capsys):
    """In the order of their numbers, not in that in which they were done; a reply may hold U+2028 and U+0085."""
    rows = [
        attempt("tide", 2, "7/2", "correct"), attempt("moon", 1, None, "no_answer"), attempt("tide", 0, "3", "wrong"),
        attempt("moon", 0, "12", "correct", confidence=[[16, 2.5]]), attempt("tide", 1, "3.5", "correct"),
        attempt("moon", 2, "9", "wrong"), *(attempt("torn", k, "1", "gold_invalid") for k in range(3)),
    ]  # fmt: skip
    write_lines(tmp_path / "attempts.jsonl", rows)
    tide, moon = read_samples(tmp_path)
    assert [(trace.answer, trace.is_right, trace.n_tokens) for trace in tide] == [
        (0, False, 20), (1, True, 21), (1, True, 22)
    ]  # fmt: skip
    assert [(trace.answer, trace.is_right) for trace in moon] == [(0, True), (None, False), (1, False)]
    assert moon[0].confidence == [(16, 2.5)]
    assert "left out 1 of 3 questions: invalid gold answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no samples.jsonl and no attempts.jsonl"),
        ([{"id": "a"}], "no 'n_tokens'"),
        ([{"id": "a", "n_tokens": 3, "pruned": {"rule": "step:s<0.5"}}], "stopped by step:s<0.5"),
        ([{"id": "a", "n_tokens": 3, "extracted_answer": "3", "is_correct": True}], "two questions or more"),
        ([{"id": "a", "n_tokens": 3, "extracted_answer": "3"}], "no 'is_correct'"),
        (["a"], "not a sample"),
    ],
)
def test_samples_that_cannot_be_replayed_are_refused(tmp_path, rows, told):
    if rows:
        (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ToolError, match=told):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([attempt("a", 0, "3", "accepted", score=0.9)], ":1: graded by the reward of --accept"),
        ([attempt("a", 0, None, "pruned", pruned={"rule": "agree:1"})], ":1: stopped by agree:1"),
        ([attempt("a", 0, "3", "wrong", n_tokens=0)], ":1: no 'n_tokens'"),
        ([attempt("a", k, "3", "wrong") for k in (0, 1)] + [attempt("b", 0, "4", "correct")], "with --keep all"),
    ],
)
def test_attempts_that_cannot_be_replayed_are_refused(tmp_path, rows, told):
    write_lines(tmp_path / "attempts.jsonl", rows)
    with pytest.raises(ToolError, match=told):
        read_samples(tmp_path)


@pytest.mark.slow
@needs_chromium
def test_the_whole_table_is_seen_at_1100_pixels(tmp_path):
    rng = random.Random(2)
    (tmp_path / "page.html").write_text(page(draw_curves([question(rng, 0.8) for _ in range(8)], seed=0), "Savings"))
    with browser() as tab:
        tab.open((tmp_path / "page.html").as_uri())
        tab.resize(1100)
        assert tab.texts("th")[-1] == "from random pruning"
        assert tab.run("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.wide'))") == 0
