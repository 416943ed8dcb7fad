"""Keeping the index up to date: runs that are new or changed are read, one a transaction, and gone ones forgotten."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools_bench.view.database import INSERT_RUN, StaleIndex, drop, index_path, open_index, reading, writing
from tools_bench.view.facts import file_of, run_facts
from tools_bench.view.places import Place, find_places, stamp
from tools_bench.view.stored import stored_replies
from tools_shared.console import progress, say
from tools_shared.errors import ToolError, brief
from tools_shared.runs.read import MANIFEST


class Index:
    """The runs below a root. `places` are those of the last look, `changes` counts the looks that found a change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = index_path(root)
        self.places: dict[str, Place] = {}
        self.changes = 0
        self.done, self.to_do = 0, 0
        self.is_ready = False
        self._again: set[str] = set()
        self._lock = threading.Lock()
        open_index(self.path)

    def refresh(self, stopped: threading.Event | None = None) -> float:
        """Look at the root once, and read what has changed, until `stopped`; returns the seconds that the look took."""
        began = time.monotonic()
        new = self._checked(stopped or threading.Event())
        return time.monotonic() - began if not new else 0.0

    def _checked(self, stopped: threading.Event) -> int:
        with self._lock:
            try:
                return self._refresh(stopped)
            except (StaleIndex, sqlite3.DatabaseError) as error:
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                    return 0  # another viewer writes; what it reads need not be read here
                say(f"{self.path}: the index is damaged or of another version, and is made again")
                drop(self.path)
                open_index(self.path)
                self.changes += 1
                return self._refresh(stopped)

    def read_again(self, run: str) -> None:
        """Have a run read at the next look, whatever its stamps say."""
        self._again.add(run)

    def _refresh(self, stopped: threading.Event) -> int:
        places = {place.id: place for place in find_places(self.root)}
        with reading(self.path) as found:
            known = {row["id"]: row for row in found.execute("SELECT id, stamp, file, file_stamp FROM runs")}
        finished = {key: place for key, place in places.items() if not place.is_draft}
        gone = known.keys() - finished.keys()
        new = [place for key, place in finished.items() if key in self._again or not _is_same(place, known.get(key))]
        changed = bool(gone or new or places.keys() != self.places.keys())
        self.places = places
        self.done, self.to_do = 0, len(new)
        for key in gone:
            with writing(self.path) as connection:
                _forget(connection, key)
        self.changes += changed
        self._read(new, stopped)
        self.is_ready = True
        return len(new)

    def _read(self, new: list[Place], stopped: threading.Event) -> None:
        if not new:
            return
        began, n_replies = time.monotonic(), 0
        with progress(total=len(new), label="indexing", unit="run", every=5.0) as bar:
            for place in new:
                if stopped.is_set():
                    return
                n_replies += _index(self.path, place, place.id in self._again)
                self._again.discard(place.id)
                self.done += 1
                self.changes += 1
                bar.update()
        took = time.monotonic() - began
        say(f"{self.root}: indexed {len(new)} runs with {n_replies} replies in {took:.1f} s ({self.path})")


def _is_same(place: Place, known: sqlite3.Row | None) -> bool:
    if known is None or known["stamp"] != stamp(place.folder / MANIFEST):
        return False
    return known["file"] is None or known["file_stamp"] == stamp(file_of(place, known["file"]))


def _index(path: Path, place: Place, again: bool) -> int:
    """Read a run into the index; returns how many replies it has. One that cannot be read is listed with the reason."""
    row, file = run_facts(place)
    with writing(path) as connection:
        if not again and _known(connection, place) == (row["stamp"], row["file_stamp"]):
            return 0  # another viewer was faster
        _forget(connection, place.id)
        number = connection.execute(INSERT_RUN, row).lastrowid
        if file is None:
            return 0
        counts: Counter[str] = Counter()
        try:
            connection.executemany("INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", _rows(number, file, counts))
        except (ToolError, OSError) as error:
            connection.execute("DELETE FROM replies WHERE run = ?", (number,))
            told = brief(str(error), 300, quoted=False)
            connection.execute("UPDATE runs SET problem = ? WHERE number = ?", (told, number))
            return 0
        outcomes = {name[1:]: n for name, n in counts.items() if name.startswith("=")}
        values = (sum(outcomes.values()), counts["right"], counts["wrong"], json.dumps(outcomes), number)
        connection.execute("UPDATE runs SET n_replies=?, n_right=?, n_wrong=?, outcomes=? WHERE number=?", values)
        return values[0]


def _rows(run: int | None, file: Path, counts: Counter[str]) -> Iterator[tuple[Any, ...]]:
    for number, one in enumerate(stored_replies(file)):
        counts[f"={one.outcome}"] += 1
        if one.is_right is not None:
            counts["right" if one.is_right else "wrong"] += 1
        yield run, number, one.offset, one.length, one.item, one.is_right, one.outcome


def _known(connection: sqlite3.Connection, place: Place) -> tuple[str, str] | None:
    row = connection.execute("SELECT stamp, file_stamp FROM runs WHERE id = ?", (place.id,)).fetchone()
    return (row["stamp"], row["file_stamp"]) if row else None


def _forget(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM replies WHERE run = (SELECT number FROM runs WHERE id = ?)", (key,))
    connection.execute("DELETE FROM runs WHERE id = ?", (key,))
