"""Rows that are held out, the choice among evaluations, and when a run is over."""

import random

import pytest

from tools_shared.errors import ToolError
from tools_shared.records import Conversation, Message, Problem
from tools_shared.training.selection.figures import from_log, logged, loss_figure
from tools_shared.training.selection.options import SelectionOptions
from tools_shared.training.selection.split import apart, set_aside
from tools_shared.training.selection.watch import best


def problems(n, repeat=1):
    return [Problem(f"{i}-{k}", f"How long is side {i}?", str(i)) for i in range(n) for k in range(repeat)]


def test_a_split_depends_on_seed_and_text_alone():
    rows = problems(200)
    kept, held = apart(rows, 0.1, 5)
    assert len(held) == 20
    assert sorted(p.id for p in kept + held) == sorted(p.id for p in rows)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert {p.id for p in apart(shuffled, 0.1, 5)[1]} == {p.id for p in held}
    assert {p.id for p in apart(rows, 0.1, 6)[1]} != {p.id for p in held}
    assert [p for p in rows if p in held] == held


def test_what_is_asked_twice_is_not_learned_and_held_out_too():
    rows = [*problems(40, repeat=3), Problem("loud", "HOW LONG   is side 7?", "7")]
    kept, held = apart(rows, 0.3, 0)
    asked = lambda part: {" ".join(p.question.split()).casefold() for p in part}  # noqa: E731
    assert held
    assert not asked(kept) & asked(held)


def test_conversations_are_told_apart_by_all_that_comes_before_the_last_reply():
    def chat(first, second, reply):
        turns = [("user", first), ("assistant", "Yes?"), ("user", second), ("assistant", reply)]
        return Conversation(f"{first}{second}{reply}", tuple(Message(r, t) for r, t in turns))

    rows = [chat("Hello", f"Name {i}", reply) for i in range(30) for reply in ("a", "b")]
    kept, held = apart(rows, 0.2, 0)
    assert len(held) == 12
    assert not {c.messages[2] for c in kept} & {c.messages[2] for c in held}


def test_half_of_the_test_problems_choose_and_the_others_report():
    tests = problems(31)
    parts = set_aside(problems(10), tests, 0.0, 0, chooses=True)
    assert (len(parts.train), len(parts.choosing), len(parts.reporting), parts.n_held_out) == (10, 16, 15, 0)
    assert parts.tests is parts.reporting
    assert not {p.id for p in parts.choosing} & {p.id for p in parts.reporting}


def test_a_share_of_the_training_rows_is_halved_and_the_tests_stay_whole():
    parts = set_aside(problems(100), problems(7), 0.3, 0, chooses=True)
    assert (len(parts.train), len(parts.choosing), len(parts.reporting), parts.n_held_out) == (70, 15, 15, 30)
    assert len(parts.tests) == 7
    only_reporting = set_aside(problems(100), None, 0.3, 0, chooses=False)
    assert (only_reporting.choosing, len(only_reporting.reporting), only_reporting.tests) == ([], 30, None)


@pytest.mark.parametrize(
    ("chooses", "n", "tests", "share", "message"),
    [
        (True, 9, None, 0.0, "--eval-steps needs rows that are not trained on"),
        (True, 9, problems(3), 0.0, "half of the 3 rows of --eval-data are too few"),
        (True, 9, problems(3), 0.2, "--validation-split 0.2 of 9 rows are too few"),
        (False, 9, None, 0.1, "--validation-split 0.1 of 9 rows are too few to evaluate on: 1"),
    ],
)
def test_too_few_rows_are_refused(chooses, n, tests, share, message):
    with pytest.raises(ToolError, match=message):
        set_aside(problems(n), tests, share, 0, chooses=chooses)


@pytest.mark.parametrize("name", ["load_best", "early_stopping_patience"])
def test_what_needs_evaluations_says_so(name):
    with pytest.raises(ToolError, match="needs --eval-steps N"):
        SelectionOptions(**{name: 2})


def test_the_best_is_the_first_of_equals_and_lower_for_a_loss():
    history = [{"step": s, "eval_loss": v, "eval_accuracy": a} for s, v, a in [(1, 3, 0.5), (2, 1, 0.7), (3, 1, 0.7)]]
    assert best(history, "loss")["step"] == 2 == best(history, "accuracy")["step"]
    assert best([{"step": 1, "loss": 0.3}], "loss") is None


def test_a_loss_is_that_of_a_token_and_its_interval_counts_rows():
    figure = loss_figure([4.0, 1.0, 0.0], [2, 8, 0])
    assert figure["mean"] == pytest.approx(0.5)
    assert figure["low"] <= 0.5 <= figure["high"]
    assert figure["n"] == 2


def test_figures_come_back_from_the_log():
    figures = {
        "loss": {"mean": 1.5, "low": 1.0, "high": 2.0, "n": 9},
        "accuracy": {"estimate": 0.5, "low": 0.2, "high": 0.8, "n": 8},
    }
    assert from_log({"step": 3, **logged(figures)}) == figures
