"""What a policy says of a run: PASS, WARN or BLOCK for each gate, and which gates too few items cannot decide.

A gate blocks where a metric is significantly worse by more points than it allows, and passes where the interval of the
difference leaves out a worsening of that size. Between both the items are too few: the gate is undecided, and
says what difference they would find and about how many would do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tools_bench.comparison.verdicts import MetricVerdict
from tools_bench.watching.policy import Gate, GatePolicy
from tools_shared.errors import ToolError
from tools_shared.names import nearest

ORDER = ("PASS", "WARN", "BLOCK")


@dataclass(frozen=True)
class Decision:
    """One gate on one run. `verdict` is PASS, WARN or BLOCK; `undecided`: as the policy says of gates that the items
    cannot decide. `minimum_detectable` is in points, None where nothing is compared."""

    metric: str
    verdict: str
    undecided: bool
    why: str
    n: int
    minimum_detectable: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def worst(verdicts: Sequence[str]) -> str:
    return max(verdicts, key=ORDER.index, default="PASS")


def decide(policy: GatePolicy, results: Mapping[str, Any], verdicts: Sequence[MetricVerdict] | None) -> list[Decision]:
    """The decisions on a run with these results; `verdicts` are those against the baseline, None without one. Raises
    ToolError for a gate's metric that the suite does not measure."""
    rates = {name: rate for e in results["evaluations"].values() for name, rate in e["intervals"].items()}
    compared = {v.metric: v for v in verdicts or ()}
    decisions = []
    for gate in policy.gates:
        if gate.metric not in rates:
            raise ToolError(
                f"the policy's gate {gate.metric}: the suite does not measure it; {nearest(gate.metric, rates)}"
            )
        if gate.at_least is not None or gate.at_most is not None:
            decisions.append(_level(gate, rates[gate.metric], policy))
        if gate.compares and verdicts is not None:
            if gate.metric not in compared:
                raise ToolError(
                    f"the policy's gate {gate.metric}: the baseline does not measure it; run it on this suite"
                )
            decisions.append(_difference(gate, compared[gate.metric], policy))
    return decisions


def _difference(gate: Gate, v: MetricVerdict, policy: GatePolicy) -> Decision:
    """By the paired difference from the baseline."""
    most_worse = max(-100 * v.low * v.direction, -100 * v.high * v.direction)
    is_worse = v.verdict == "regressed"
    found = None if v.minimum_detectable is None else 100 * v.minimum_detectable
    told = (
        f"{v.metric}: {100 * v.baseline:.1f} to {100 * v.current:.1f} %, {v.worse_by:+.1f} points worse "
        f"(at most {most_worse:.1f}), n={v.n}"
    )
    if gate.block is not None and is_worse and v.worse_by > gate.block:
        return Decision(v.metric, "BLOCK", False, f"{told}; allowed are {gate.block:g}", v.n, found)
    if gate.warn is not None and is_worse and v.worse_by > gate.warn:
        return Decision(v.metric, "WARN", False, f"{told}; {gate.warn:g} are worth a warning", v.n, found)
    strictest = gate.warn if gate.block is None else gate.block
    if strictest is None or most_worse <= strictest:
        return Decision(v.metric, "PASS", False, told, v.n, found)
    why = f"{told}; not decided: {_too_few(v.n, found, strictest)}"
    return Decision(v.metric, policy.undecided.upper(), True, why, v.n, found)


def _too_few(n: int, found: float | None, points: float) -> str:
    if found is None:
        return f"no item differs, and {n} items are too few to exclude {points:g} points"
    enough = "" if points == 0 else f"; about {_rounded(n * max(1.1, found / points) ** 2)} items would do"
    return f"{n} items find a difference of {found:.1f} points with 80 % power, and the gate is at {points:g}{enough}"


def _rounded(n: float) -> int:
    """Two digits, rounded up."""
    unit = 10 ** max(0, math.floor(math.log10(n)) - 1)
    return math.ceil(n / unit) * unit


def _level(gate: Gate, rate: Mapping[str, Any], policy: GatePolicy) -> Decision:
    """By the rate's own interval."""
    low, high, n = 100 * rate["low"], 100 * rate["high"], int(rate["n"])
    told = f"{gate.metric}: {100 * rate['estimate']:.1f} % [{low:.1f}, {high:.1f}], n={n}"
    least, most = gate.at_least, gate.at_most
    if least is not None and high < least:
        return Decision(gate.metric, "BLOCK", False, f"{told}; below {least:g} %", n)
    if most is not None and low > most:
        return Decision(gate.metric, "BLOCK", False, f"{told}; above {most:g} %", n)
    if (least is None or low >= least) and (most is None or high <= most):
        return Decision(gate.metric, "PASS", False, told, n)
    limits = " and ".join(f"{limit:g} %" for limit in (least, most) if limit is not None)
    why = f"{told}; not decided: its interval holds the limit ({limits}), more items would do"
    return Decision(gate.metric, policy.undecided.upper(), True, why, n)
