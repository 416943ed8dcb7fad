"""Each rule replayed over the whole traces of one question: which would have been stopped, and after how many tokens.

`step:` and `confidence:` look at one trace alone, so the replay is what they would have done to the token
(`tools/bench/tests/test_savings.py`). `agree:` depends on which traces are under way: here a question's are sampled
one after another, as they are where there are many more questions than places in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools_bench.savings.samples import Stop, WholeTrace
from tools_shared.pruning.rules import Rules, is_settled, percentile


def by_step(question: Sequence[WholeTrace], least: float) -> list[Stop]:
    """`step:SCORER<least`. A step is judged when the token after it is there."""
    return [_stop(sample, _first_below(sample.steps, least)) for sample in question]


def _first_below(steps: Sequence[tuple[int, float]], least: float) -> int | None:
    total = 0.0
    for n, (end, probability) in enumerate(steps, start=1):
        total += probability
        if total / n < least:
            return end + 1
    return None


def _stop(sample: WholeTrace, at: int | None) -> Stop:
    is_stopped = at is not None and at < sample.n_tokens
    return Stop(at if is_stopped and at is not None else sample.n_tokens, is_stopped)


def by_confidence(question: Sequence[WholeTrace], percent: float) -> list[Stop]:
    """`confidence:W<percent%`: the first traces set what the others are held to."""
    n_warm_up = Rules(percentile=percent).n_warm_up(len(question))
    least = percentile([s.confidence[-1][1] for s in question[:n_warm_up] if s.confidence], percent)
    stops = []
    for k, sample in enumerate(question):
        at = next((end for end, low in sample.confidence if low < least), None) if k >= n_warm_up else None
        stops.append(_stop(sample, at))
    return stops


def by_agreement(question: Sequence[WholeTrace], probability: float) -> list[Stop]:
    """`agree:P`: what has not begun when the vote is settled never does."""
    votes: dict[int, int] = {}
    for n, sample in enumerate(question, start=1):
        if sample.answer is not None:
            votes[sample.answer] = votes.get(sample.answer, 0) + 1
        if is_settled(list(votes.values()), len(question) - n, probability):
            break
    return [Stop(sample.n_tokens if k < n else 0, k >= n) for k, sample in enumerate(question)]


def at_random(question: Sequence[WholeTrace], stops: Sequence[Stop], rng: np.random.Generator) -> list[Stop]:
    """As many traces of the question stopped, after the same shares of their lengths, but any of them."""
    shares = [stop.n_tokens / sample.n_tokens for stop, sample in zip(stops, question, strict=True) if stop.is_stopped]
    chosen = dict(zip(rng.permutation(len(question))[: len(shares)].tolist(), shares, strict=True))
    return [
        _stop(sample, max(1, int(chosen[k] * sample.n_tokens)) if k in chosen else None)
        for k, sample in enumerate(question)
    ]
