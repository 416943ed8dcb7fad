import pytest

from tools_shared.answers.voting import best_scored, elected, number_answers


def test_equal_answers_have_one_number():
    assert number_answers(["12", "12.0", None, "$12", "13", "12%"]) == [0, 0, None, 0, 1, 0]


@pytest.mark.parametrize(
    ("numbers", "right", "weights", "chance"),
    [
        ([0, 0, 1], [False, False, True], [1, 1, 1], 0.0),
        ([0, 0, 1], [False, False, True], [0.1, 0.2, 0.9], 1.0),
        ([0, 1], [True, False], [1, 1], 0.5),
        ([None, None], [False, False], [1, 1], 0.0),
        ([None, 0], [False, True], [9, 0.1], 1.0),
    ],
)
def test_election(numbers, right, weights, chance):
    assert elected(numbers, right, weights) == chance


def test_best_scored_is_taken_among_the_answered():
    assert best_scored([None, 0, 1], [False, True, False], [0.9, 0.8, 0.2]) == 1.0
    assert best_scored([0, 1], [True, False], [0.5, 0.5]) == 0.5
