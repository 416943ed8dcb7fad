"""A run's `metrics.jsonl` as curves to draw: read as far as it has grown, thinned to a bounded number of points."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tools_bench.report.curves import MOST_COLUMNS, MOST_POINTS, named, thinned

CHUNK = 4 * 2**20
LONGEST_LINE = 2**20
MOST_KEYS = 200
"""Columns that are kept of one file."""


class History:
    """The curves of one file. Each `read` reads what has been appended since, and starts over where the file has
    been replaced, as it is in a run that resumes from an earlier step. Threads may share one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._inode, self._offset, self._torn = -1, 0, b""
        self._columns: dict[str, list[tuple[float, float]]] = {}
        self._broken: dict[str, list[float]] = {}
        self.last: dict[str, float] = {}
        self._times: list[tuple[float, float]] = []

    def read(self) -> None:
        """Read what is new; nothing where there is no file."""
        if self.path.is_symlink() or not self.path.is_file():
            return
        try:
            with self._lock, self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._offset:
                    self._begin()
                    self._inode = found.st_ino
                file.seek(self._offset)
                while chunk := file.read(CHUNK):
                    self._offset += len(chunk)
                    self._take(chunk)
        except OSError:
            return

    def _take(self, chunk: bytes) -> None:
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        if len(self._torn) > LONGEST_LINE:
            self._torn = b"#"  # no JSON, so that the whole line is left out
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and is_finite(row.get("step")):
                self._add(row["step"], {key: value for key, value in row.items() if _is_number(value)})

    def _add(self, step: float, values: dict[str, float]) -> None:
        for key, value in values.items():
            if key not in self._columns and len(self._columns) >= MOST_KEYS:
                continue
            points, broken = self._columns.setdefault(key, []), self._broken.setdefault(key, [])
            while points and points[-1][0] >= step:
                points.pop()  # a step that is trained again counts as it was last
            while broken and broken[-1] >= step:
                broken.pop()
            if not math.isfinite(value):
                broken.append(step)
                continue
            self.last[key] = value
            points.append((step, value))
            if len(points) > 4 * MOST_POINTS:
                self._columns[key] = _fewer(points, 2 * MOST_POINTS)
        if is_finite(values.get("seconds")):
            self._note_time(step, values["seconds"])

    def _note_time(self, step: float, seconds: float) -> None:
        if self._times and (seconds < self._times[-1][1] or step <= self._times[-1][0]):
            self._times = []  # another session, which counts from its own beginning
        self._times = [*self._times[-19:], (step, seconds)]

    def curves(self, most: int = MOST_POINTS) -> dict[str, Any]:
        """What `drawCurves` of `curves.js` takes.

        `columns`: a curve's name -> {"step": [n], "value": [n]}, n at most `most`, steps rising, six digits of each
        value; `notes`: what a curve does not show (values that are not finite); `left_out`: the number of columns
        beyond MOST_COLUMNS.
        """
        with self._lock:
            names = named(self._columns)
            shown = dict(list(names.items())[:MOST_COLUMNS])
            return {
                "columns": {name: _drawn(_fewer(self._columns[key], most)) for key, name in shown.items()},
                "notes": {name: _note(broken) for key, name in shown.items() if (broken := self._broken[key])},
                "left_out": len(names) - len(shown),
            }

    def latest(self) -> dict[str, float]:
        """The last finite value of each curve, under its name."""
        last = self.last.copy()
        return {name: last[key] for key, name in named(last).items()}

    def seconds_a_step(self) -> float | None:
        """The pace of the last steps; None before there are two."""
        if len(self._times) < 2:
            return None
        (first, then), (last, now) = self._times[0], self._times[-1]
        return (now - then) / (last - first)


def _fewer(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    return [points[i] for i in thinned([value for _, value in points], most)]


def _drawn(points: list[tuple[float, float]]) -> dict[str, list[float]]:
    return {"step": [step for step, _ in points], "value": [float(f"{value:.6g}") for _, value in points]}


def _note(broken: list[float]) -> str:
    if len(broken) == 1:
        return f"not finite at step {broken[0]:g}"
    return f"not finite at {len(broken)} steps, first at step {broken[0]:g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value read from JSON is a number that can be drawn."""
    return _is_number(value) and math.isfinite(value)


def read_curves(run_dir: Path, most: int = MOST_POINTS) -> dict[str, Any] | None:
    """The history of a run, or of a draft (`NAME.partial`) by now, as `History.curves` has it; None where nothing was
    logged."""
    history = History(run_dir / "metrics.jsonl")
    history.read()
    found = history.curves(most)
    return found if found["columns"] else None


class Histories:
    """The last few histories that were asked for, so that a growing one is read once, whichever thread asks."""

    def __init__(self, most: int = 24) -> None:
        self._most, self._lock = most, threading.Lock()
        self._known: OrderedDict[Path, History] = OrderedDict()

    def of(self, path: Path) -> History:
        with self._lock:
            history = self._known.pop(path, None) or History(path)
            self._known[path] = history
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        history.read()
        return history
