"""What a number of questions can show, worked out before any score is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ASKED = 0.6
"""The AUROC within a question whose power is stated."""
_Z, _Z80 = 1.959964, 0.841621


@dataclass(frozen=True)
class Power:
    """Of `n` questions with both right and wrong traces: the chance that an AUROC of `auroc` has an interval above 0.5,
    and the smallest AUROC for which that chance is 80 % (1 where there is none)."""

    n: int
    auroc: float
    chance: float
    smallest: float

    def sentence(self) -> str:
        if not self.n:
            return "No question has both right and wrong traces: there is no within-question AUROC to measure."
        least = f"it takes an AUROC of {self.smallest:.3f}" if self.smallest < 1 else "no AUROC is large enough"
        return (
            f"{self.n} questions have both right and wrong traces: the chance that they distinguish a within-question "
            f"AUROC of {self.auroc} from 0.5 is {100 * self.chance:.0f} %; for a chance of 80 % {least}."
        )


def power(labels: np.ndarray, questions: np.ndarray, auroc: float = ASKED) -> Power:
    """From `labels` (traces,), 1 or 0, and `questions` (traces,), the number of each one's question. The variance of a
    question's AUROC with m right and n wrong traces is taken as that of a score that knows nothing,
    (m + n + 1) / (12 m n) (Mann & Whitney 1947), and questions as independent.

    Where a score is good on some questions and bad on others the true chance is lower.
    """
    import numpy as np

    total, n_mixed = 0.0, 0
    for question in np.unique(questions):
        mine = labels[questions == question]
        right, wrong = float(mine.sum()), float(len(mine) - mine.sum())
        if right and wrong:
            total, n_mixed = total + (right + wrong + 1) / (12 * right * wrong), n_mixed + 1
    if not n_mixed:
        return Power(0, auroc, 0.0, 1.0)
    error = math.sqrt(total) / n_mixed
    chance = 0.5 * (1 + math.erf(((auroc - 0.5) / error - _Z) / math.sqrt(2)))
    return Power(n_mixed, auroc, chance, min(1.0, 0.5 + (_Z + _Z80) * error))
