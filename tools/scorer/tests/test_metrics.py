import itertools

import numpy as np
import pytest

from tools_scorer.evaluation.judged import JudgedTrace
from tools_scorer.evaluation.metrics import average_precision, roc, within_auroc
from tools_scorer.evaluation.replay import lock_step, peak, stop_below
from tools_scorer.evaluation.selection import best, majority, selections, vote
from tools_shared.answers.voting import number_answers
from tools_shared.errors import ToolError
from tools_shared.scorers.scorer import summarize
from tools_shared.states.shards import TraceInfo
from tools_shared.stats.auroc import auroc, pooled_auroc
from tools_shared.stats.calibration import brier, ece


def trace(steps, ends, right=True, answer=0, n_tokens=None, question="q", name="t") -> JudgedTrace:
    info = TraceInfo(name, question, right, "test", question, prompt_len=0, n_tokens=n_tokens or ends[-1])
    return JudgedTrace(info, tuple(ends), tuple(steps), summarize(list(steps)), answer)


def test_auroc_is_the_share_of_pairs_in_order_and_ties_count_half():
    rng = np.random.default_rng(0)
    labels, scores = (rng.random(40) < 0.4).astype(float), rng.integers(0, 6, 40).astype(float)
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(scores[labels == 1], scores[labels == 0])]
    assert auroc(labels, scores) == pytest.approx(np.mean(pairs))


def test_known_libraries_agree():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels, scores = (rng.random(300) < 0.3).astype(float), rng.integers(0, 40, 300) / 40
    assert auroc(labels, scores) == pytest.approx(sklearn.roc_auc_score(labels, scores))
    assert average_precision(labels, scores) == pytest.approx(sklearn.average_precision_score(labels, scores))
    assert brier(labels, scores) == pytest.approx(sklearn.brier_score_loss(labels, scores))
    false, true = roc(labels, scores)
    assert np.trapezoid(true, false) == pytest.approx(auroc(labels, scores))


def test_a_score_of_the_question_alone_is_good_pooled_and_worth_nothing_within():
    rng = np.random.default_rng(2)
    questions = np.repeat(np.arange(100), 6)
    ease = rng.random(100)[questions]
    labels = (rng.random(600) < ease).astype(float)
    names = [f"q{q}" for q in questions]
    assert pooled_auroc(labels, ease, names).low > 0.7
    within = within_auroc(labels, ease, questions, names)
    assert within.estimate == 0.5
    assert 0.35 < within.low < 0.5 < within.high < 0.65, "equal values are not a certain mean"


def test_pooled_interval_covers_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(100):
        questions = np.repeat(np.arange(40), 5)
        labels = (rng.random(200) < rng.random(40)[questions]).astype(float)
        scores = rng.normal(size=200) + rng.normal(size=40)[questions]
        found = pooled_auroc(labels, scores, questions.tolist(), n_resamples=300, seed=seed)
        hits += found.low <= 0.5 <= found.high
    assert hits >= 88


def test_calibration_error_of_known_probabilities():
    probabilities = np.repeat([0.1, 0.9], 100)
    labels = np.concatenate([np.repeat([1.0, 0.0], [10, 90]), np.repeat([1.0, 0.0], [60, 40])])
    assert ece(labels, probabilities) == pytest.approx((0.0 + 0.3) / 2)


def test_one_class_cannot_be_judged():
    with pytest.raises(ToolError, match="all 3 traces are right"):
        pooled_auroc(np.ones(3), np.arange(3.0), ["a", "b", "c"])


def test_answers_are_grouped_by_the_graders_equality():
    assert number_answers(["1,000", None, "$1000.00", "7", "1000"]) == [0, None, 0, 1, 0]


def test_votes():
    right, wrong = trace([0.9], [5], True, 0), trace([0.3], [5], False, 1)
    scored = [(right, 0.9), (wrong, 0.3), (wrong, 0.3)]
    assert (majority(scored), vote(scored), best(scored)) == (0.0, 1.0, 1.0)
    assert majority(scored[:2]) == 0.5
    unanswered = trace([0.99], [5], False, None)
    assert best([(unanswered, 0.99), *scored]) == 1.0
    assert vote([(unanswered, 0.99)]) == 0.0


def test_selection_at_one_is_the_accuracy_whatever_the_rule():
    questions = [
        [trace([0.1 * t], [5], t % 3 == 0, t % 3, question=f"q{q}", name=f"{q}/{t}") for t in range(4 + q % 2)]
        for q in range(6)
    ]
    first = selections(questions, "mean", 4, seed=0, n_resamples=200)[0]
    assert first.k == 1
    rates = {name: round(rate.estimate, 9) for name, rate in first.rates.items()}
    assert len(set(rates.values())) == 1


def test_stopping_below_a_threshold_takes_the_running_mean():
    t = trace([0.9, 0.2, 0.1, 0.9], [10, 20, 30, 40], n_tokens=45)
    assert stop_below(t, 0.5) == 30
    assert stop_below(t, 0.35) is None


def test_a_cache_that_holds_everything_drops_nothing():
    traces = [trace([0.5], [n], n_tokens=n, name=str(n)) for n in (10, 20, 30)]
    assert peak([10, 20, 30]) == 40
    finished, drawn = lock_step(traces, 40, lambda t, n: 0.0)
    assert (len(finished), drawn) == (3, 60)


def test_a_full_cache_drops_the_lowest_mean_tick_by_tick():
    rng = np.random.default_rng(4)
    for _ in range(30):
        n = int(rng.integers(2, 8))
        traces = []
        for i in range(n):
            ends = np.sort(rng.choice(np.arange(1, 40), int(rng.integers(1, 6)), replace=False)).tolist()
            traces.append(trace(rng.random(len(ends)).tolist(), ends, n_tokens=ends[-1] + 3, name=str(i)))
        budget = float(rng.integers(10, 120))

        def mean(t, n_tokens):
            found = t.mean_until(n_tokens)
            return 2.0 if found is None else found

        assert lock_step(traces, budget, mean) == _by_ticks(traces, budget, mean)


def _by_ticks(traces, budget, score):
    """The same, one token at a time."""
    running, finished, drawn, tick = list(traces), [], 0, 0
    while running:
        while len(running) > 1 and len(running) * (tick + 1) > budget:
            lowest = min(running, key=lambda t: score(t, tick))
            running.remove(lowest)
            drawn += tick
        tick += 1
        done = [t for t in running if t.n_tokens == tick]
        finished += done
        drawn += tick * len(done)
        running = [t for t in running if t.n_tokens > tick]
    return finished, drawn
