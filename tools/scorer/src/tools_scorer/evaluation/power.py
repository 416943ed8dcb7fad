"""What so many questions can show, worked out before any score is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ASKED = 0.6
"""The AUROC within a question for which the power is told."""
_Z, _Z80 = 1.959964, 0.841621


@dataclass(frozen=True)
class Power:
    """Of `n` questions with both right and wrong traces: the chance that an AUROC of `auroc` has an interval above 0.5,
    and the smallest AUROC of which that chance is 80 %."""

    n: int
    auroc: float
    chance: float
    smallest: float

    def sentence(self) -> str:
        least = f"the smallest seen with a chance of 80 % is {self.smallest:.3f}" if self.smallest < 1 else "none is"
        return (
            f"{self.n} questions have both right and wrong traces: a within-question AUROC of {self.auroc} would be "
            f"told from 0.5 with a chance of {100 * self.chance:.0f} %, {least}."
        )


def power(labels: np.ndarray, questions: np.ndarray, auroc: float = ASKED) -> Power:
    """From each question's numbers of right (m) and wrong (n) traces: the variance of its AUROC is taken as that of a
    score that knows nothing, (m + n + 1) / (12 m n) (Mann & Whitney 1947), and questions as independent.

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
