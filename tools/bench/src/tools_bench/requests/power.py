"""What a set of questions can tell, before anything is asked: how well a rate is known, which differences are found.

The sizes are those of a rate of one half (Wilson) and of McNemar's test on two runs that disagree on a quarter of the
questions, found with 80 % power (`tools_shared.stats.paired_mde`). Several samples of a question narrow what chance in
sampling adds, not which questions were chosen: at best all of it was sampling, and k samples count like k questions.
"""

from __future__ import annotations

from typing import Any

from tools_shared.stats import paired_mde, wilson

DISAGREEMENT = 0.25
COARSE = 0.1
"""A detectable difference above this is said to be too coarse for comparing models of one family."""


def detectable(n: int, k: int = 1) -> float:
    """The smallest difference between two runs that `n` questions find, with `k` samples each at best."""
    return paired_mde(DISAGREEMENT, n * k)


def half_width(n: int) -> float:
    """Half the 95 % interval of a rate of one half."""
    found = wilson(n / 2, n)
    return (found.high - found.low) / 2


def power_of(n: int, k: int) -> dict[str, Any]:
    """For the results: what `n` questions with `k` samples each can tell, as shares."""
    found = {"n": n, "half_width": half_width(n), "detectable": detectable(n), "disagreement": DISAGREEMENT}
    return found if k == 1 else {**found, "samples": k, "detectable_at_best": detectable(n, k)}


def sentence(name: str, power: dict[str, Any]) -> str:
    """One line for a person."""
    best = power.get("detectable_at_best")
    more = f", at best {100 * best:.0f} with {power['samples']} samples each" if best is not None else ""
    told = (
        f"{name}: {power['n']} questions: a rate is known to {100 * power['half_width']:.0f} points either way (95 %); "
        f"two runs differ beyond chance from about {100 * power['detectable']:.0f} points on{more}"
    )
    if (best or power["detectable"]) <= COARSE:
        return told
    hint = "" if best is not None else "; --samples K --temperature T narrows what sampling adds"
    return f"{told}. This set cannot tell models apart that are closer than that{hint}"
