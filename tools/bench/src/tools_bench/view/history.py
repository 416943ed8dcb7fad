"""A run's `metrics.jsonl` as curves to draw: read as far as it has grown, thinned to a bounded number of points."""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from tools_bench.report.curves import MOST_COLUMNS, MOST_POINTS, named, thinned

CHUNK = 4 * 2**20
LONGEST_LINE = 2**20
MOST_KEYS = 200
"""Columns that are kept of one file."""


class History:
    """The curves of one file. Each `read` takes up what has been appended since, and begins again where the file has
    been replaced, as it is in a run that resumes from an earlier step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin()

    def _begin(self) -> None:
        self._inode, self._offset, self._torn = -1, 0, b""
        self._columns: dict[str, list[tuple[float, float]]] = {}
        self._broken: dict[str, tuple[int, float]] = {}
        self.last: dict[str, float] = {}
        self._times: list[tuple[float, float]] = []

    def read(self) -> None:
        """Take up what is new; nothing where there is no file."""
        if self.path.is_symlink() or not self.path.is_file():
            return
        try:
            with self.path.open("rb") as file:
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
            points = self._columns.setdefault(key, [])
            while points and points[-1][0] >= step:
                points.pop()  # a step that is trained again counts as it was last
            if not math.isfinite(value):
                n, first = self._broken.get(key, (0, step))
                self._broken[key] = n + 1, min(first, step)
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

    def curves(self) -> dict[str, Any]:
        """What `drawCurves` of `curves.js` draws, each curve at most `MOST_POINTS` long; see `read_curves`."""
        keys = named(self._columns)
        columns = {}
        for key, name in list(keys.items())[:MOST_COLUMNS]:
            points = _fewer(self._columns[key], MOST_POINTS)
            columns[name] = {"step": [step for step, _ in points], "value": [value for _, value in points]}
        broken = {keys[key]: found for key, found in self._broken.items() if keys.get(key) in columns}
        notes = {name: f"not finite at {n} steps, first at step {first:g}" for name, (n, first) in broken.items()}
        return {"columns": columns, "notes": notes, "left_out": max(0, len(keys) - MOST_COLUMNS)}

    def latest(self) -> dict[str, float]:
        """The last value of each curve, under its name."""
        return {name: self.last[key] for key, name in named(self.last).items()}

    def seconds_a_step(self) -> float | None:
        """The pace of the last steps; None before there are two."""
        if len(self._times) < 2:
            return None
        (first, then), (last, now) = self._times[0], self._times[-1]
        return (now - then) / (last - first)


def _fewer(points: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    return [points[i] for i in thinned([value for _, value in points], most)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value read from JSON is a number that can be drawn."""
    return _is_number(value) and math.isfinite(value)


class Histories:
    """The last few histories that were asked for, so that a growing one is read once."""

    def __init__(self, most: int = 24) -> None:
        self._most = most
        self._known: OrderedDict[Path, History] = OrderedDict()

    def of(self, path: Path) -> History:
        history = self._known.pop(path, None) or History(path)
        self._known[path] = history
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        history.read()
        return history
