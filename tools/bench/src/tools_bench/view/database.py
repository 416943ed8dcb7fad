"""The index of a root: an SQLite file that can be thrown away at any time, and is whenever it is not as we made it.

It is in the root as `.tools-bench-view.sqlite`, or in the cache folder where the root cannot be written to or is a
run itself. Nothing in it is shown unchecked: a run's figures hold while its files have the stamps that they were read
with, and a reply is read from the run.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tools_bench import __version__
from tools_shared.errors import ToolError
from tools_shared.runs.read import MANIFEST
from tools_shared.runs.replace import STATE

NAME = ".tools-bench-view.sqlite"
PATIENCE = 20.0
"""Seconds to wait for another viewer that writes."""
SCHEMA = (
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,"
    " model TEXT NOT NULL, test TEXT NOT NULL, metric TEXT, score REAL, low REAL, high REAL, n INTEGER,"
    " finished TEXT NOT NULL, seconds REAL, file TEXT, n_replies INTEGER NOT NULL, n_right INTEGER NOT NULL,"
    " n_wrong INTEGER NOT NULL, outcomes TEXT NOT NULL, problem TEXT, stamp TEXT NOT NULL, file_stamp TEXT NOT NULL)",
    'CREATE TABLE replies (run INTEGER NOT NULL, number INTEGER NOT NULL, "offset" INTEGER NOT NULL,'
    " length INTEGER NOT NULL, item INTEGER, is_right INTEGER, outcome TEXT NOT NULL,"
    " PRIMARY KEY (run, number)) WITHOUT ROWID",
    "CREATE INDEX replies_by_item ON replies (run, item) WHERE item IS NOT NULL",
)

INSERT_RUN = (
    "INSERT INTO runs (id, name, kind, model, test, metric, score, low, high, n, finished, seconds, file, n_replies,"
    " n_right, n_wrong, outcomes, problem, stamp, file_stamp) VALUES (:id, :name, :kind, :model, :test, :metric,"
    " :score, :low, :high, :n, :finished, :seconds, :file, :n_replies, :n_right, :n_wrong, :outcomes, :problem,"
    " :stamp, :file_stamp)"
)


class StaleIndex(ToolError):
    """The index is not one of ours, of another version, or damaged."""


def index_path(root: Path) -> Path:
    """Where the root's index lies; the folder is made where it is the cache's."""
    is_run = (root / MANIFEST).exists() or (root / STATE).exists()
    if not is_run and os.access(root, os.W_OK):
        return root / NAME
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tools-bench" / "view"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"{root}: cannot be written to, and neither can {folder} ({error.strerror}); set XDG_CACHE_HOME"
        ) from error
    return folder / f"{hashlib.sha256(str(root.resolve()).encode('utf-8', 'surrogateescape')).hexdigest()[:24]}.sqlite"


def open_index(path: Path) -> None:
    """Make the index where it is missing, and make it again where it is not as we would have made it."""
    try:
        with reading(path) as found:
            (health,) = found.execute("PRAGMA quick_check(1)").fetchone()
            if health == "ok":
                return
    except (StaleIndex, sqlite3.DatabaseError):
        pass
    drop(path)
    with closing(_connect(path, "rwc")) as made, made:
        made.execute("BEGIN IMMEDIATE")
        if not made.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:  # else another viewer was first
            for statement in SCHEMA:
                made.execute(statement)
            made.execute(f"PRAGMA user_version = {_version()}")


def drop(path: Path) -> None:
    """Delete the index and what belongs to it: it holds nothing that is not read again from the runs."""
    for name in (f"{path.name}-journal", f"{path.name}-wal", f"{path.name}-shm", path.name):
        with suppress(FileNotFoundError):
            path.with_name(name).unlink()


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that reads. Raises StaleIndex where the file is not an index of this version."""
    with _opened(path, "ro") as connection:
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that writes, alone. Raises StaleIndex as `reading`."""
    with _opened(path, "rw") as connection:
        # A kill leaves a journal from which SQLite goes back. What a power cut damages is found, and made again.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            yield connection


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    if path.is_symlink() or not path.is_file():
        raise StaleIndex(f"{path}: no index")
    with closing(_connect(path, mode)) as connection:
        there = tuple(sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
        if there != SCHEMA or connection.execute("PRAGMA user_version").fetchone()[0] != _version():
            raise StaleIndex(f"{path}: not an index of this version")
        yield connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.resolve().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.row_factory = sqlite3.Row
    return connection


def _version() -> int:
    """The number of this schema, written by this version."""
    told = "\n".join((__version__, *SCHEMA)).encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:4], "big") >> 1
