"""The mean of an experiment that was repeated with several seeds on the same questions.

Other seeds would have given other models, other questions other scores: both are sampled, and each seed meets each
question. A bootstrap over questions alone speaks of these very models (`test_stats_crossed.py` measures how seldom it
then holds the truth), and three seeds are too few to be resampled themselves. So the variance is the sum of what the
means of the seeds and the means of the questions show, as in standard errors clustered both ways without the last term
(Cameron, Gelbach & Miller 2011, Journal of Business & Economic Statistics 29: 238), which errs to the wide side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tools_shared.stats.bootstrap import t_of
from tools_shared.stats.paired import tango_interval
from tools_shared.stats.rates import Interval, wilson

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


def crossed_mean(right_S_Q: ArrayLike, confidence: float = 0.95) -> Interval:
    """The share of right ones (0 or 1) over S seeds and Q questions, with Student's t interval; `n` is Q.

    Degrees of freedom by Satterthwaite (1946, Biometrics Bulletin 2: 110): about those of the questions where seeds
    hardly differ, down to S - 1. Where nothing varies it is Wilson's interval over the questions. Raises ValueError on
    fewer than 2 seeds or questions.
    """
    right = _checked(right_S_Q)
    if right.min() == right.max():
        return wilson(int(right[0].sum()), right.shape[1], confidence)
    return _interval(right, confidence, lowest=0.0)


def crossed_difference(a_S_Q: ArrayLike, b_S_Q: ArrayLike, confidence: float = 0.95) -> Interval:
    """The share in `b` minus that in `a`, paired by question and seed; see `crossed_mean`.

    Where nothing varies it is Tango's interval over the questions. Raises ValueError on shapes that differ too.
    """
    a, b = _checked(a_S_Q), _checked(b_S_Q)
    if a.shape != b.shape:
        raise ValueError(f"a and b have one shape (seeds, questions), got {a.shape} and {b.shape}")
    gains = b - a
    if gains.min() == gains.max():
        return tango_interval(int((gains[0] < 0).sum()), int((gains[0] > 0).sum()), gains.shape[1], confidence)
    return _interval(gains, confidence, lowest=-1.0)


def _checked(values_S_Q: ArrayLike) -> np.ndarray:
    import numpy as np

    values = np.asarray(values_S_Q, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"values have the shape (seeds, questions), 2 of each at least, got {values.shape}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError("values are 0 or 1")
    return values


def _interval(values: np.ndarray, confidence: float, lowest: float) -> Interval:
    n_seeds, n_questions = values.shape
    mean = float(values.mean())
    of_seeds = float(values.mean(axis=1).var(ddof=1)) / n_seeds
    of_questions = float(values.mean(axis=0).var(ddof=1)) / n_questions
    variance = of_seeds + of_questions
    if variance == 0:  # as much gained as lost within each seed and each question
        return Interval(mean, mean, mean, n_questions)
    df = variance**2 / (of_seeds**2 / (n_seeds - 1) + of_questions**2 / (n_questions - 1))
    half = t_of(confidence, df) * math.sqrt(variance)
    return Interval(mean, max(lowest, mean - half), min(1.0, mean + half), n_questions)
