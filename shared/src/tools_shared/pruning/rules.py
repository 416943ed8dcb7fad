"""The rules by which a trace is stopped before its end, as pure functions of numbers.

- `step:SCORER<P`: a scorer gives the hidden state at each step's end a probability; the trace stops as soon as the mean
  of those so far is below P (STEP, arXiv 2601.09093).
- `budget:BYTES`: the keys and values of all running traces may take BYTES; when they take more, the running trace with
  the lowest mean goes (STEP's rule for a full cache). The mean is that of `step:`, else of `confidence:`.
- `confidence:W<C`: a token's confidence is minus the mean log-probability of its TOP likeliest candidates, the group
  confidence its mean over the last W tokens; the trace stops as soon as that is below C (DeepConf, arXiv 2508.15260).
  With `C%` the first traces of each question run to their end, and C is that percentile of their lowest groups.
- `agree:P`: a question stops when its majority keeps its lead over all K samples with probability P or more, by the
  bound in `keeps_lead`.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tools_shared.errors import ToolError

TOP = 20
"""Candidates whose log-probabilities make a token's confidence."""
WARM_UP = 16
"""Most traces of a question that set its C; of fewer than four times as many samples a quarter, at least 2."""
FORMS = "step:SCORER<P, budget:BYTES, confidence:W<C or agree:P"
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True, slots=True)
class Pruned:
    """Why a trace was stopped: the rule as it was given, after which step (0: none had ended), its score then, and the
    tokens that it had."""

    rule: str
    step: int
    score: float | None
    tokens: int


@dataclass(frozen=True)
class Rules:
    """What `--prune` says, each rule at most once; None is a rule that was not given."""

    scorer: str | None = None
    step: float | None = None
    budget: int | None = None
    window: int | None = None
    confidence: float | None = None
    percentile: float | None = None
    agree: float | None = None
    words: dict[str, str] = field(default_factory=dict)
    """Each rule as it was written, by its kind."""

    @property
    def by_state(self) -> bool:
        return self.scorer is not None

    @property
    def by_confidence(self) -> bool:
        return self.window is not None

    def n_warm_up(self, n_samples: int) -> int:
        """How many traces of a question run to their end before the others begin."""
        return 0 if self.percentile is None else min(WARM_UP, max(2, n_samples // 4))


def parse_rules(texts: Sequence[str]) -> Rules:
    """The rules of `--prune`; raises ToolError with the words that cannot be read, and what can."""
    found: dict[str, Any] = {}
    words: dict[str, str] = {}
    for text in texts:
        kind, colon, said = text.partition(":")
        reader = _READERS.get(kind)
        if reader is None or not colon or not said:
            raise ToolError(f"--prune {text}: is not a rule; write {FORMS}")
        if kind in words:
            raise ToolError(f"--prune {text}: '{kind}' is there already as '{words[kind]}'; give each rule once")
        words[kind] = text
        found |= reader(text, said)
    if "budget" in words and not words.keys() & {"step", "confidence"}:
        raise ToolError(
            f"--prune {words['budget']}: needs a score to choose by; add --prune 'step:SCORER<0', which scores every "
            "trace and stops none, or a confidence rule"
        )
    return Rules(**found, words=words)


def _step(text: str, said: str) -> dict[str, Any]:
    scorer, below, threshold = said.rpartition("<")
    if not below or not scorer.strip():
        raise ToolError(f"--prune {text}: write step:SCORER<P, such as step:artifacts/scorer<0.4")
    return {"scorer": scorer.strip(), "step": _number(text, "P", threshold, 0, 1)}


def _budget(text: str, said: str) -> dict[str, Any]:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", said)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise ToolError(
            f"--prune {text}: write budget:BYTES, such as budget:512MiB (units: B, kB, MB, GB, KiB, MiB, GiB)"
        )
    n_bytes = int(float(match[1]) * unit)
    if n_bytes < 1:
        raise ToolError(f"--prune {text}: a budget is at least one byte")
    return {"budget": n_bytes}


def _confidence(text: str, said: str) -> dict[str, Any]:
    window, below, threshold = said.partition("<")
    if not below or not re.fullmatch(r"[1-9][0-9]{0,6}", window.strip()):
        raise ToolError(
            f"--prune {text}: write confidence:W<C, W tokens, such as confidence:256<10% or confidence:64<3.5"
        )
    if threshold.strip().endswith("%"):
        percentile = _number(text, "C%", threshold.strip()[:-1], 0, 100)
        return {"window": int(window), "percentile": percentile}
    return {"window": int(window), "confidence": _number(text, "C", threshold, 0, math.inf)}


def _agree(text: str, said: str) -> dict[str, Any]:
    return {"agree": _number(text, "P", said, 0.5, 1)}


_READERS = {"step": _step, "budget": _budget, "confidence": _confidence, "agree": _agree}


def _number(text: str, name: str, said: str, low: float, high: float) -> float:
    try:
        value = float(said)
    except ValueError:
        value = math.nan
    if not low <= value <= high or value == math.inf:
        allowed = f"{low:g} or more" if high == math.inf else f"between {low:g} and {high:g}"
        raise ToolError(f"--prune {text}: {name} is a number, {allowed}, not '{said}'")
    return value


@dataclass
class GroupConfidence:
    """The mean confidence of a trace's last `window` tokens. `lows` are its new lowest values, each with the number of
    tokens then: what any threshold would have stopped follows from them."""

    window: int
    n_tokens: int = 0
    lows: list[tuple[int, float]] = field(default_factory=list)
    _last: deque[float] = field(default_factory=deque)
    _sum: float = 0.0

    def add(self, confidence: float) -> float | None:
        """Note a token's; returns the group's, None until there is a whole window."""
        self.n_tokens += 1
        self._last.append(confidence)
        self._sum += confidence
        if len(self._last) > self.window:
            self._sum -= self._last.popleft()
        if len(self._last) < self.window:
            return None
        mean = self._sum / len(self._last)
        if not self.lows or mean < self.lows[-1][1]:
            self.lows.append((self.n_tokens, mean))
        return mean

    @property
    def mean(self) -> float | None:
        return self._sum / len(self._last) if self._last else None

    @property
    def told(self) -> tuple[tuple[int, float], ...]:
        """The lowest groups; of a trace shorter than the window, the mean of all its tokens."""
        return tuple(self.lows) or (((self.n_tokens, self._sum / self.n_tokens),) if self.n_tokens else ())

    @property
    def lowest(self) -> float | None:
        return self.told[-1][1] if self.told else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the two nearest of the sorted values; 0 is the lowest, 100 the highest."""
    ordered = sorted(values)
    at = (len(ordered) - 1) * percent / 100
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def keeps_lead(first: int, second: int, n_left: int) -> float:
    """The probability that an answer with `first` votes has more than one with `second` after `n_left` more.

    All that are left are taken to vote for one of the two, the case in which the lead is most in danger, each for the
    leader with a share whose distribution is Beta(first + 1, second + 1): flat before the first vote. The number of
    votes is then beta-binomial. It is 1 exactly when first > second + n_left: then no votes can change it.
    """
    if first > second + n_left:
        return 1.0
    if first + n_left <= second:
        return 0.0
    needed = (n_left + second - first) // 2 + 1
    return min(
        1.0, math.fsum(_beta_binomial(k, n_left, first + 1, second + 1) for k in range(max(0, needed), n_left + 1))
    )


def _beta_binomial(k: int, n: int, a: float, b: float) -> float:
    return math.exp(
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + _log_beta(k + a, n - k + b) - _log_beta(a, b)
    )


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def is_settled(votes: Sequence[int], n_left: int, least: float) -> bool:
    """Whether the vote of a question, as counts by answer, is settled by `agree:P`. Without a vote it is not, but
    with nothing left it is."""
    if n_left <= 0:
        return True
    first, second = (*sorted(votes, reverse=True), 0, 0)[:2]
    # An answer that nobody has given yet may take all that is left, as one with no votes.
    return first > 0 and keeps_lead(first, second, n_left) >= least


def over_budget(held: Sequence[int], scores: Sequence[float | None], budget: int) -> list[int]:
    """Which of the running traces go, by index, when each holds `held` tokens and all may hold `budget`: the lowest
    score first, of equals the longest; those without a score last. One is always left."""
    going: list[int] = []
    total = sum(held)
    order = sorted(range(len(held)), key=lambda i: (scores[i] is None, scores[i] or 0.0, -held[i], i))
    for i in order[:-1]:
        if total <= budget:
            break
        going.append(i)
        total -= held[i]
    return going
