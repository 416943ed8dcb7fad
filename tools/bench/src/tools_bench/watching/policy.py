"""The policy of `tools-bench watch`: a YAML file that says what is too much worse, and what a run is compared with.

baseline: artifacts/prep_sft     # a run, or a benchmark of tools-bench run; optional
alpha: 0.05                      # over all gates of a run together
undecided: warn                  # what a gate counts as that too few items cannot decide: pass, warn or block
exit_codes: {warn: 0, block: 4}
gates:
  accuracy: {block: 5, warn: 2}  # points worse than the baseline
  refusal_rate: {block: 3}
  numeric_match: {at_least: 60}  # percent, whatever the baseline (at_most where lower is better)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tools_bench.grading.metrics import check_metric, metric_of
from tools_shared.errors import ToolError, brief
from tools_shared.files import yaml_text
from tools_shared.names import nearest

Counts = Literal["pass", "warn", "block"]
_KEYS = ("baseline", "alpha", "undecided", "exit_codes", "gates")
_LIMITS = ("block", "warn", "at_least", "at_most")


@dataclass(frozen=True)
class Gate:
    """The limits of one metric: points that it may be worse by, and percent that it must not pass."""

    metric: str
    block: float | None = None
    warn: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def compares(self) -> bool:
        return self.block is not None or self.warn is not None


@dataclass(frozen=True)
class GatePolicy:
    """See the module."""

    gates: tuple[Gate, ...] = ()
    baseline: str | None = None
    alpha: float = 0.05
    undecided: Counts = "warn"
    exit_codes: Mapping[str, int] = field(default_factory=lambda: {"warn": 0, "block": 4})


def read_policy(given: str | None) -> GatePolicy:
    """Read a policy; one without gates for None. Raises ToolError with file, key and value of what is wrong."""
    if given is None:
        return GatePolicy()
    path, where = Path(given), given
    content = yaml_text.load(path)
    if not isinstance(content, Mapping):
        raise ToolError(f"{where}: a policy is a mapping with gates, and baseline to compare with")
    _check_keys(content, _KEYS, where)
    rows = content.get("gates")
    if not isinstance(rows, Mapping) or not rows:
        raise ToolError(
            f"{where}: gates must be a mapping of metrics, got {brief(rows)}; such as accuracy: {{block: 5}}"
        )
    gates = tuple(_gate(name, row, f"{where}: gates") for name, row in rows.items())
    baseline = content.get("baseline")
    if baseline is not None and (not isinstance(baseline, str) or not baseline):
        raise ToolError(f"{where}: baseline must be the path of a run, got {brief(baseline)}")
    if baseline is None and (wrong := next((gate for gate in gates if gate.compares), None)):
        raise ToolError(f"{where}: {wrong.metric} is compared with a baseline; give baseline, a run's folder")
    alpha = _number(content.get("alpha", 0.05), f"{where}: alpha", 0.0001, 0.5)
    undecided = content.get("undecided", "warn")
    if undecided not in ("pass", "warn", "block"):
        raise ToolError(f"{where}: undecided must be pass, warn or block, got {brief(undecided)}")
    return GatePolicy(
        gates, _beside(path, baseline), alpha, undecided, _exit_codes(content.get("exit_codes", {}), where)
    )


def _gate(name: Any, row: Any, where: str) -> Gate:
    if not isinstance(name, str):
        raise ToolError(f"{where}: {brief(name)} is no metric's name")
    check_metric(name, where)
    if not isinstance(row, Mapping) or not row:
        raise ToolError(f"{where}: {name} must be a mapping with {', '.join(_LIMITS)}, got {brief(row)}")
    _check_keys(row, _LIMITS, f"{where}: {name}")
    gate = Gate(name, **{key: _number(value, f"{where}: {name}: {key}", 0, 100) for key, value in row.items()})
    if gate.compares and metric_of(name).direction == 0:
        raise ToolError(f"{where}: {name} is neither better nor worse when it is higher; give at_least or at_most")
    if gate.block is not None and gate.warn is not None and gate.warn > gate.block:
        raise ToolError(f"{where}: {name}: warn {gate.warn:g} is above block {gate.block:g}, so it would never warn")
    return gate


def _exit_codes(value: Any, where: str) -> Mapping[str, int]:
    if not isinstance(value, Mapping):
        raise ToolError(f"{where}: exit_codes must be a mapping with warn and block, got {brief(value)}")
    _check_keys(value, ("warn", "block"), f"{where}: exit_codes")
    if wrong := next((n for n, code in value.items() if type(code) is not int or not 0 <= code <= 125), None):
        raise ToolError(f"{where}: exit_codes: {wrong} must be a whole number from 0 to 125, got {brief(value[wrong])}")
    return {"warn": 0, "block": 4, **value}


def _number(value: Any, where: str, low: float, high: float) -> float:
    if type(value) not in (int, float) or not low <= value <= high:
        raise ToolError(f"{where} must be a number from {low:g} to {high:g}, got {brief(value)}")
    return float(value)


def _beside(path: Path, baseline: str | None) -> str | None:
    """The baseline as it is from here: beside the policy, where there is one."""
    beside = path.parent / baseline if baseline is not None else None
    return str(beside) if beside is not None and beside.exists() else baseline


def _check_keys(content: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    if unknown := next((key for key in content if key not in known), None):
        raise ToolError(f"{where}: unknown key {brief(unknown)}; {nearest(brief(unknown, quoted=False), known)}")
