"""Groups that are judged while others are sampled."""

import threading
from dataclasses import dataclass, field

import pytest

from tools_grpo.rollouts.ahead import JudgedAhead
from tools_shared.engines import Completion
from tools_shared.rewards import Reward


@dataclass(frozen=True)
class Slow(Reward):
    calls: list = field(default_factory=list)
    may_go: threading.Event = field(default_factory=threading.Event)


def group(text):
    return [Completion(f"{text}{k}", (k,), "stop") for k in range(2)]


def score(reward, rows, completions):
    reward.calls.append([c.text for c in completions])
    reward.may_go.wait(30)
    if any(c.text.startswith("bad") for c in completions):
        raise ValueError("broken")
    return [float(len(c.text)) for c in completions]


def test_a_group_is_judged_before_the_next_is_there_and_those_that_wait_are_judged_together():
    reward = Slow("slow", 1.0)
    ahead = JudgedAhead(reward, score)
    first, second, third = group("a"), group("bb"), group("ccc")

    ahead.add([{}] * 2, first)
    while not reward.calls:  # the first is being judged although nobody has asked for its scores
        pass
    ahead.add([{}] * 2, second)
    ahead.add([{}] * 2, third)
    reward.may_go.set()
    scores = ahead.take([{}] * 6, [*third, *first, *second])

    assert scores == [4.0, 4.0, 2.0, 2.0, 3.0, 3.0]
    assert reward.calls == [["a0", "a1"], ["bb0", "bb1", "ccc0", "ccc1"]]


def test_completions_that_were_not_handed_over_are_judged_when_they_are_asked_for():
    reward = Slow("slow", 1.0)
    reward.may_go.set()

    assert JudgedAhead(reward, score).take([{}] * 2, group("a")) == [2.0, 2.0]


def test_what_a_reward_raises_is_raised_where_the_scores_are_taken():
    reward = Slow("slow", 1.0)
    reward.may_go.set()
    ahead = JudgedAhead(reward, score)
    bad = group("bad")
    ahead.add([{}] * 2, bad)

    with pytest.raises(ValueError, match="broken"):
        ahead.take([{}] * 2, bad)
