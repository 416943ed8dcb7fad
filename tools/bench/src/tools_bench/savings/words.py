"""What the curves say, in sentences and a table."""

from __future__ import annotations

from tools_bench.savings.curves import Curves, Setting
from tools_shared.stats import Interval

EQUAL = 0.01
"""A loss of accuracy that counts as none: one point."""


def verdicts(curves: Curves) -> list[str]:
    """For each rule: against fewer samples at the same tokens, against random pruning, and its saving at equal
    accuracy."""
    return [
        f"{name}: {_against_fewer(points)} {_against_random(points)}{_saved(points)}"
        for name, points in curves.rules.items()
    ]


def _against_fewer(points: list[Setting]) -> str:
    """The settings were looked at together, so one whose interval is above 0 alone proves little; it is said of how
    many."""
    better = [point for point in points if point.from_fewer.low > 0]
    worse = [point for point in points if point.from_fewer.high < 0]
    best = max(points, key=lambda point: point.from_fewer.estimate)
    shown = f"{_signed(best.from_fewer)} at {100 * best.share:.0f} % of the tokens ({best.setting})"
    if len(better) > len(points) / 2:
        return f"beats fewer samples at the same tokens at {len(better)} of {len(points)} settings, best {shown}."
    if len(worse) > len(points) / 2:
        return f"is worse than sampling fewer traces at {len(worse)} of {len(points)} settings, best {shown}."
    return (
        f"is not shown to beat the majority over fewer samples at the same tokens ({len(better)} of {len(points)} "
        f"settings above 0, {len(worse)} below), best {shown}."
    )


def _against_random(points: list[Setting]) -> str:
    found = [point.from_random for point in points if point.from_random is not None]
    if not found:
        return ""
    better = sum(interval.low > 0 for interval in found)
    return f"It is better than stopping traces at random at {better} of {len(found)} settings. "


def _saved(points: list[Setting]) -> str:
    sure = [point for point in points if point.from_whole.low >= -EQUAL]
    likely = [point for point in points if point.from_whole.estimate >= -EQUAL]
    if not likely:
        return "No setting keeps the accuracy of all samples within 1 point."
    most = min(sure or likely, key=lambda point: point.share)
    how = "with its whole interval" if sure else "by its estimate alone"
    return (
        f"Within 1 point of all samples, {how}, it saves {100 * (1 - most.share):.0f} % of the tokens "
        f"({most.setting}: {_signed(most.from_whole)})."
    )


HEAD = ("rule", "tokens", "stopped", "accuracy", "from all samples", "from fewer, same tokens", "from random pruning")


def table(curves: Curves) -> list[tuple[str, ...]]:
    """A row for each setting, beside the baselines."""
    rows = [("no pruning", "100 %", "", _percent(curves.whole), "", "", "")]
    share = 100 / curves.n_samples
    for m, rate in enumerate(curves.fewer[:-1], start=1):
        rows.append((f"majority of {m}", f"{share * m:.0f} %", "", _percent(rate), "", "", ""))
    for points in curves.rules.values():
        rows += [_row(point) for point in points]
    return rows


def _row(point: Setting) -> tuple[str, ...]:
    return (
        point.setting,
        f"{100 * point.share:.0f} %",
        f"{100 * point.stopped:.0f} %",
        _percent(point.accuracy),
        _signed(point.from_whole),
        _signed(point.from_fewer),
        "" if point.from_random is None else _signed(point.from_random),
    )


def as_text(curves: Curves) -> str:
    rows = [HEAD, *table(curves)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *verdicts(curves)])


def _percent(rate: Interval) -> str:
    return f"{100 * rate.estimate:.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def _signed(rate: Interval) -> str:
    return f"{100 * rate.estimate:+.1f} [{100 * rate.low:+.1f}, {100 * rate.high:+.1f}]"
