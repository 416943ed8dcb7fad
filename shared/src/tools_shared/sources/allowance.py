"""How many rows of a test set may be unusable: what is lost is said in one line, and more than allowed is refused."""

from __future__ import annotations

from collections.abc import Sequence

from tools_shared.answers import readable
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.records import Origin, Problem, Rejected

DEFAULT = "10%"
HELP = "Largest number or share (10%) of unusable test rows; above it no request is sent (exit 1)."


def allowed_of(text: str, n: int) -> float:
    """How many of `n` rows `--max-rejected` allows; raises ToolError for what is neither a number nor a share."""
    word = text.strip()
    try:
        value = float(word.removesuffix("%"))
    except ValueError:
        value = -1.0
    is_share = word.endswith("%") or "." in word
    if not 0 <= value <= (100 if word.endswith("%") else 1 if is_share else float("inf")):
        raise ToolError(f"--max-rejected {text}: write a number of rows, such as 5, or a share, such as 10%")
    return value / (100 if word.endswith("%") else 1) * n if is_share else value


def unreadable(problems: Sequence[Problem]) -> list[Rejected]:
    """The problems whose gold answer no answer can be compared with, as rows that are lost."""
    return [
        Rejected(p.origin or Origin("?", 0), f"the gold answer '{p.answer[:40]}' cannot be read", p.answer[:200])
        for p in problems
        if not readable(p.answer)
    ]


def settle(where: str, n_read: int, rejected: Sequence[Rejected], gold: Sequence[Rejected], allowed: str) -> None:
    """Say how many of `n_read` rows are not used and how many gold answers cannot be read, each with the first reason.

    Raises ToolError when both together are more than `allowed`.
    """
    most = allowed_of(allowed, n_read)
    told = [
        f"{len(lost)} of {n_read} {what}; first: {lost[0].origin}: {lost[0].reason}"
        for lost, what in ((rejected, "rows rejected"), (gold, "gold answers cannot be read and are out of the rates"))
        if lost
    ]
    if len(rejected) + len(gold) > most:
        raise ToolError(f"{where}: {'; '.join(told)} (--max-rejected allows {allowed}: fix the data, or raise it)")
    for sentence in told:
        say(f"{where}: {sentence}")
