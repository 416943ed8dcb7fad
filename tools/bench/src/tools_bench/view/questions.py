"""What is asked of the index: the list of runs, a page of a run's replies, and where two runs differ."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_bench.view.database import reading
from tools_bench.view.facts import file_of
from tools_bench.view.index import Index
from tools_bench.view.places import stamp
from tools_bench.view.stored import item_of, read_replies, short
from tools_shared.errors import ToolError
from tools_shared.stats import mcnemar_exact, tango_interval

SORTS = {
    "name": "name", "kind": "kind", "model": "model", "test": "test", "score": "score", "finished": "finished",
    "seconds": "seconds", "replies": "n_replies",
}  # fmt: skip
SHOWN = (
    "id", "name", "kind", "model", "test", "metric", "score", "low", "high", "n", "finished", "seconds", "n_replies",
    "n_right", "n_wrong", "outcomes", "problem",
)  # fmt: skip
SEARCH_SECONDS = 2.0
"""How long one request searches the texts of replies; the next one continues from there."""
BATCH = 200
"""Replies that a search reads at a time."""
RIGHT = {"all": "1", "right": "is_right = 1", "wrong": "is_right = 0"}
FLIPS = {"all": "a.is_right <> b.is_right", "lost": "a.is_right > b.is_right", "gained": "a.is_right < b.is_right"}


class ChangedRun(Exception):
    """The run's files are not those that the index speaks of; it is read again, and then can be asked again."""


class UnknownRun(Exception):
    """There is no such run."""


@dataclass(frozen=True)
class Wanted:
    """Which of the runs to list, and in which order."""

    search: str = ""
    kind: str = ""
    sort: str = "finished"
    is_falling: bool = True
    offset: int = 0
    limit: int = 100


def list_runs(index: Index, wanted: Wanted) -> dict[str, Any]:
    """A page of the finished runs, how many match, and the kinds that there are."""
    words, values = ["1"], []
    if wanted.kind:
        words.append("kind = ?")
        values.append(wanted.kind)
    for word in wanted.search.split()[:8]:
        words.append("instr(lowered(name || ' ' || kind || ' ' || model || ' ' || test), ?) > 0")
        values.append(word.lower())
    where = " AND ".join(words)
    order = f"{SORTS[wanted.sort]} {'DESC' if wanted.is_falling else 'ASC'} NULLS LAST, name"
    with reading(index.path) as connection:
        connection.create_function("lowered", 1, str.lower, deterministic=True)  # SQLite's own knows ASCII alone
        # The words of these statements are this module's; what was asked for comes as values.
        (total,) = connection.execute(f"SELECT count(*) FROM runs WHERE {where}", values).fetchone()  # noqa: S608
        page = f"SELECT {', '.join(SHOWN)} FROM runs WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608
        rows = [_run(row) for row in connection.execute(page, (*values, wanted.limit, wanted.offset))]
        kinds = connection.execute("SELECT kind, count(*) AS n FROM runs GROUP BY kind ORDER BY kind").fetchall()
        n_runs, n_replies = connection.execute("SELECT count(*), total(n_replies) FROM runs").fetchone()
    return {
        "runs": rows,
        "total": total,
        "all": n_runs,
        "replies": int(n_replies),
        "kinds": {row["kind"]: row["n"] for row in kinds},
    }


def one_run(index: Index, run: str) -> dict[str, Any]:
    """A run as the list shows it. Raises UnknownRun."""
    with reading(index.path) as connection:
        return _run(_found(connection, run))


def _run(row: sqlite3.Row) -> dict[str, Any]:
    return {name: row[name] for name in SHOWN} | {"outcomes": json.loads(row["outcomes"])}


def _found(connection: sqlite3.Connection, run: str) -> sqlite3.Row:
    row = connection.execute("SELECT * FROM runs WHERE id = ?", (run,)).fetchone()
    if row is None:
        raise UnknownRun(run)
    return row


@dataclass(frozen=True)
class Page:
    """Which replies to show: `show` is all, right, wrong, or `outcome:NAME`; `after` the number of the last one
    before."""

    show: str = "all"
    search: str = ""
    after: int = -1
    limit: int = 20


def replies(index: Index, run: str, page: Page) -> dict[str, Any]:
    """The replies after a number that match: `rows`, and `next`, the number to continue from, None at the end. With a
    search `n_searched` says how many were looked through, which may be before the page is full."""
    where = RIGHT.get(page.show, "outcome = ?")
    values = () if page.show in RIGHT else (page.show.removeprefix("outcome:"),)
    with reading(index.path) as connection:
        row = _found(connection, run)
        path = _file(index, row)
        if path is None:
            return {"rows": [], "next": None, "n_searched": 0}
        statement = (
            f'SELECT number, "offset", length, item FROM replies WHERE run = ? AND number > ? AND {where}'  # noqa: S608
            " ORDER BY number LIMIT ?"
        )
        ask = (row["number"], page.after, *values)
        if not page.search:
            places = connection.execute(statement, (*ask, page.limit + 1)).fetchall()
            rows = list(_read(index, run, path, places[: page.limit]))
            more = len(places) > page.limit
            return {"rows": rows, "next": rows[-1]["number"] if more else None, "n_searched": len(rows)}
        return _search(index, run, path, page, connection.execute(statement, (*ask, -1)))


def _search(index: Index, run: str, path: Path, page: Page, places: sqlite3.Cursor) -> dict[str, Any]:
    until, rows, n_searched, last = time.monotonic() + SEARCH_SECONDS, [], 0, page.after
    words = page.search.lower()
    while batch := places.fetchmany(BATCH):
        for reply in _read(index, run, path, batch, whole=True):
            n_searched, last = n_searched + 1, reply["number"]
            if words in "\n".join((reply["key"], reply["question"], reply["text"], reply["answer"])).lower():
                rows.append(short(reply))
                if len(rows) == page.limit:
                    return {"rows": rows, "next": last, "n_searched": n_searched}
        if time.monotonic() > until:
            return {"rows": rows, "next": last, "n_searched": n_searched}
    return {"rows": rows, "next": None, "n_searched": n_searched}


def one_reply(index: Index, run: str, number: int) -> dict[str, Any]:
    """A reply with its texts whole. Raises UnknownRun where there is none."""
    with reading(index.path) as connection:
        row = _found(connection, run)
        path = _file(index, row)
        ask = 'SELECT number, "offset", length, item FROM replies WHERE run = ? AND number = ?'
        place = connection.execute(ask, (row["number"], number)).fetchone()
    if path is None or place is None:
        raise UnknownRun(f"{run}/{number}")
    return next(_read(index, run, path, [place], whole=True))


def flips(index: Index, baseline: str, run: str, page: Page) -> dict[str, Any]:
    """The questions of both runs whose first replies are right in one and wrong in the other, with the paired
    difference `run` minus `baseline` over all questions that both have."""
    with reading(index.path) as connection:
        one, two = _found(connection, baseline), _found(connection, run)
        paths = _file(index, one), _file(index, two)
        tables = (
            "FROM replies AS a JOIN replies AS b ON b.run = ? AND b.item = a.item"
            " WHERE a.run = ? AND a.is_right IS NOT NULL AND b.is_right IS NOT NULL"
        )
        ask = (two["number"], one["number"])
        counted = connection.execute(
            f"SELECT count(*), total(a.is_right > b.is_right), total(a.is_right < b.is_right) {tables}", ask
        ).fetchone()
        columns = ", ".join(f'{t}.number AS {t}n, {t}."offset" AS {t}o, {t}.length AS {t}l' for t in "ab")
        found = connection.execute(
            f"SELECT a.item, {columns} {tables} AND {FLIPS[page.show]} AND a.number > ? ORDER BY a.number LIMIT ?",
            (*ask, page.after, page.limit + 1),
        ).fetchall()
    n, lost, gained = map(int, counted)
    rows = []
    if paths[0] is not None and paths[1] is not None:
        sides = [
            [{"number": r[f"{t}n"], "offset": r[f"{t}o"], "length": r[f"{t}l"], "item": r["item"]} for r in found]
            for t in "ab"
        ]
        before = _read(index, baseline, paths[0], sides[0][: page.limit])
        after = _read(index, run, paths[1], sides[1][: page.limit])
        rows = [{"baseline": a, "run": b} for a, b in zip(before, after, strict=True)]
    more = len(found) > page.limit
    return {"rows": rows, "next": rows[-1]["baseline"]["number"] if more else None, **_difference(n, lost, gained)}


def _difference(n: int, lost: int, gained: int) -> dict[str, Any]:
    if n == 0:
        return {"n": 0, "lost": 0, "gained": 0, "difference": None, "low": None, "high": None, "p": None}
    interval = tango_interval(lost, gained, n)
    ends = {"difference": interval.estimate, "low": interval.low, "high": interval.high}
    return {"n": n, "lost": lost, "gained": gained, **ends, "p": mcnemar_exact(lost, gained)}


def _file(index: Index, row: sqlite3.Row) -> Path | None:
    """The CSV that the index read; None where the run has none. Raises ChangedRun where it is another one now."""
    place = index.places.get(row["id"])
    if row["file"] is None or place is None:
        return None
    path = file_of(place, row["file"])
    if stamp(path) != row["file_stamp"]:
        index.read_again(row["id"])
        raise ChangedRun(row["name"])
    return path


def _read(index: Index, run: str, path: Path, places: list[Any], whole: bool = False) -> Iterator[Mapping[str, Any]]:
    """The replies at their places. Raises ChangedRun where one is not that which the index noted."""
    try:
        found = read_replies(path, [(place["offset"], place["length"]) for place in places])
        for place, reply in zip(places, found, strict=True):
            if item_of(reply) != place["item"]:
                raise ToolError("another reply")
            yield {"number": place["number"], **(reply if whole else short(reply))}
    except (ToolError, OSError, OverflowError) as error:
        index.read_again(run)
        raise ChangedRun(path.parent.parent.name) from error
