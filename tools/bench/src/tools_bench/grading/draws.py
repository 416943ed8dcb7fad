"""Several samples of each item: avg@k, pass@k and maj@k, and what of an interval is chance in sampling alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import NormalDist

from tools_shared.answers.voting import elected, number_answers
from tools_shared.stats import pass_at_k

PREFIXES = {"math": "", "match": "match_", "choice": "choice_", "instructions": "instructions_", "code": "code_"}
"""How the metrics of each kind begin. Kinds not named here have no reply that is simply right."""
VOTED = ("math", "match", "choice")
"""Kinds in which equal answers can be counted as one."""
_OF_MANY = re.compile(rf"({'|'.join(filter(None, PREFIXES.values()))})?(?:pass_at_(\d+)|maj_at_k)")


def kind_of(name: str) -> tuple[str, int | None] | None:
    """The kind of a metric over several samples, and the k of pass@k (None for maj@k); None for another metric."""
    found = _OF_MANY.fullmatch(name)
    if found is None:
        return None
    kind = next(kind for kind, prefix in PREFIXES.items() if prefix == (found[1] or ""))
    if found[2] is None and kind not in VOTED:
        return None
    return kind, int(found[2]) if found[2] else None


def of_many(kind: str, answers: Sequence[str | None], right: Sequence[bool]) -> dict[str, float]:
    """pass@k for k = 2, 4, 8 ... and all of them, unbiased, and the majority's answer where answers can be equal."""
    n, prefix = len(right), PREFIXES[kind]
    sizes = sorted({n, *(2**i for i in range(1, n.bit_length()) if 2**i <= n)})
    found = {f"{prefix}pass_at_{k}": pass_at_k(n, sum(right), k) for k in sizes if k > 1}
    if kind in VOTED:
        numbers = number_answers(answers) if kind == "math" else _alike(answers)
        found[f"{prefix}maj_at_k"] = elected(numbers, right, [1.0] * n)
    return found


def _alike(answers: Sequence[str | None]) -> list[int | None]:
    """Numbers for answers that are alike but for case and white space."""
    numbers: dict[str, int] = {}
    words = [None if answer is None else " ".join(answer.split()).casefold() for answer in answers]
    return [None if word is None else numbers.setdefault(word, len(numbers)) for word in words]


def over_draws(values: Mapping[object, Sequence[float]], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the mean over items, were only the sampling repeated and the items kept: with k samples each the
    variance is the mean of the items' own over k. None with one sample, or where no item varies."""
    drawn = [v for v in values.values() if len(v) > 1]
    if len(drawn) < len(values) or not drawn:
        return None
    means = [sum(v) / len(v) for v in drawn]
    own = [sum((x - m) ** 2 for x in v) / (len(v) - 1) / len(v) for v, m in zip(drawn, means, strict=True)]
    if not sum(own):
        return None
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(sum(own)) / len(drawn)
    mean = sum(means) / len(means)
    return max(0.0, mean - half), min(1.0, mean + half)
