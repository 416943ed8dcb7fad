"""Position bias in multiple choice: does a model look at where an option stands?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tools_bench.grading.grade import Graded
from tools_bench.requests.choices import LETTERS

N_SIMULATED = 10_000


def position_bias(graded: Sequence[Graded]) -> dict[str, Any] | None:
    """How often each place was chosen, and how often the right option stood there; None where no letter was shown.

    Where the order was permuted, a model that does not look at places chooses each of an item's k places with chance
    1/k. `p_value` is that of the chi-square statistic against this, by simulation.
    """
    lettered = [g for g in graded if g.answer and len(g.answer) == 1 and not _by_text(g)]
    if not lettered:
        return None
    most = max(len(g.item.options) for g in lettered)
    picked, gold = (Counter(letters) for letters in ([g.answer for g in lettered], [g.item.answer for g in lettered]))
    found: dict[str, Any] = {
        "n": len(lettered),
        "chosen": {letter: picked[letter] / len(lettered) for letter in LETTERS[:most]},
        "right": {letter: gold[letter] / len(lettered) for letter in LETTERS[:most]},
    }
    first_draws = [g for g in lettered if g.response.sample == 0 and g.item.permuted]
    if len(first_draws) >= 2:
        found["p_value"] = _p_value(first_draws)
    return found


def _by_text(g: Graded) -> bool:
    """Scored by the texts of the options, which were not shown: there are no places then."""
    return g.response.scored_by == "texts"


def _p_value(graded: Sequence[Graded]) -> float:
    import numpy as np

    sizes = np.array([len(g.item.options) for g in graded])
    picked = np.array([LETTERS.index(g.answer or "A") for g in graded])
    places = np.arange(sizes.max())
    expected = (places[None, :] < sizes[:, None]).astype(float).T @ (1 / sizes)

    def distance(chosen_N: np.ndarray) -> float:
        return float(((np.bincount(chosen_N, minlength=len(places)) - expected) ** 2 / expected).sum())

    rng = np.random.default_rng(0)
    n_simulated = max(200, min(N_SIMULATED, 20_000_000 // len(sizes)))
    seen = distance(picked) - 1e-9
    n_as_far = sum(distance(rng.integers(0, sizes)) >= seen for _ in range(n_simulated))
    return (n_as_far + 1) / (n_simulated + 1)
