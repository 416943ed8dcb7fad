"""What the rules would have saved: against rules that really stopped traces, and on votes that are known."""

import json
import random

import numpy as np
import pytest
from watched import NEVER, PLAIN, make_scorer

from tools_bench.config import EvaluateConfig, SavingsConfig
from tools_bench.evaluate import run_evaluation
from tools_bench.savings.curves import draw_curves
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
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "majority of 3" in page
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


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "no such file"),
        ([{"id": "a"}], "no 'n_tokens'"),
        ([{"id": "a", "n_tokens": 3, "pruned": {"rule": "step:s<0.5"}}], "stopped by step:s<0.5"),
        ([{"id": "a", "n_tokens": 3, "extracted_answer": "3", "is_correct": True}], "two questions or more"),
    ],
)
def test_samples_that_cannot_be_replayed_are_refused(tmp_path, rows, told):
    if rows:
        (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ToolError, match=told):
        read_samples(tmp_path)
