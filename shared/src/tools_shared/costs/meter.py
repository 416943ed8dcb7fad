"""Counting what a run uses, in a journal beside its draft that survives a kill.

`usage.jsonl` has a line every few seconds with the session's time and devices, and lines of tokens; a session that was
killed counts up to its last line, at most `BEAT` seconds before its end. A paid request is written at once. What does
the work (an engine, a judge, a trainer) tells `note`, wherever it is called from; without an open run nothing is
counted.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path

from tools_shared.costs import energy
from tools_shared.costs.prices import Prices
from tools_shared.files.journal import LineWriter, parsed

FILE = "usage.jsonl"
BEAT = 2.0
"""Seconds between two signs of life."""
HERE = "this machine"
"""The source of tokens whose price is that of the device."""
Key = tuple[str, str]


@dataclass
class Tokens:
    """Tokens read and written, answered requests, and those that a cache answered, which cost nothing."""

    tokens_in: int = 0
    tokens_out: int = 0
    requests: int = 0
    cached: int = 0

    def add(self, more: Tokens) -> None:
        for name, value in asdict(more).items():
            setattr(self, name, getattr(self, name) + value)

    def __bool__(self) -> bool:
        return any(asdict(self).values())


@dataclass
class Session:
    """Seconds from a session's beginning to its last sign of life, those of each device kind times how many were used,
    and watt hours."""

    seconds: float = 0.0
    devices: dict[str, float] | None = None
    counts: dict[str, int] | None = None
    watt_hours: float | None = None


class Meter:
    """The usage of one run over all its sessions. Threads may note; without a `folder` nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self.sessions: list[Session] = []
        self.tokens: dict[Key, Tokens] = {}
        self.prices: dict[str, Prices] = {}
        self._lock = threading.Lock()
        self._unwritten: dict[Key, Tokens] = {}
        self._began = self._since = time.monotonic()
        self._kind: str | None = None
        self._count = 0
        self._used: dict[str, float] = {}
        self._energy = energy.open_meters()
        self._file: LineWriter | None = None
        if folder is not None:
            self._read(folder / FILE)
            self._file = LineWriter(folder / FILE)
        self.session = Session()
        self.sessions.append(self.session)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beats, daemon=True, name="usage")

    def _read(self, path: Path) -> None:
        for line in parsed(path, dict, "a line of usage"):
            number = int(line["session"])
            while len(self.sessions) < number:
                self.sessions.append(Session())
            one = self.sessions[number - 1]
            one.seconds = max(one.seconds, float(line["seconds"]))
            if "part" in line:
                counted = Tokens(*(int(line.get(name, 0)) for name in asdict(Tokens())))
                self.tokens.setdefault((line["part"], line["source"]), Tokens()).add(counted)
            else:
                one.devices, one.counts, one.watt_hours = (line.get(n) for n in ("devices", "counts", "watt_hours"))

    def uses(self, kind: str, count: int) -> None:
        """From now on `count` devices of this kind are held; one kind at a time, and the highest count of it."""
        with self._lock:
            self._elapse()
            self._count = max(count, self._count) if kind == self._kind else count
            self._kind = kind

    def note(self, part: str, source: str, counted: Tokens, at_once: bool) -> None:
        with self._lock:
            self.tokens.setdefault((part, source), Tokens()).add(counted)
            self._unwritten.setdefault((part, source), Tokens()).add(counted)
            if at_once:
                self._elapse()
                self._write_tokens()

    def beat(self) -> None:
        """Write how long this session has lasted, and the tokens that are not written yet."""
        with self._lock:
            self._elapse()
            if self._used:
                self.session.devices = {kind: round(seconds, 3) for kind, seconds in self._used.items()}
            self.session.watt_hours = self._energy.watt_hours() if self._energy else None
            if self._file is not None:
                told = {name: value for name, value in asdict(self.session).items() if value is not None}
                self._file.write({"session": len(self.sessions), **told})
            self._write_tokens()

    def _elapse(self) -> None:
        now = time.monotonic()
        self.session.seconds = round(now - self._began, 3)
        if self._kind is not None:
            self._used[self._kind] = self._used.get(self._kind, 0.0) + self._count * (now - self._since)
            self.session.counts = {**(self.session.counts or {}), self._kind: self._count}
        self._since = now

    def _write_tokens(self) -> None:
        for (part, source), counted in self._unwritten.items():
            if self._file is not None:
                told = {name: value for name, value in asdict(counted).items() if value}
                head = {"session": len(self.sessions), "seconds": self.session.seconds, "part": part, "source": source}
                self._file.write(head | told)
        self._unwritten.clear()

    def _beats(self) -> None:
        while not self._done.wait(BEAT):
            with suppress(OSError):  # a full disk is told by what writes the run itself
                self.beat()

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(OSError):
            self.beat()
            if self._file is not None:
                self._file.__exit__(None, None, None)


_current: Meter | None = None
_part: ContextVar[str] = ContextVar("part", default="sampling")


@contextmanager
def during(part: str) -> Iterator[None]:
    """Tokens that an engine notes in the block belong to this part of the run: evaluation, rollouts, judging."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


@contextmanager
def metering(folder: Path | None) -> Iterator[Meter]:
    """Count what the block uses. One run is counted at a time: one within another is a part of it."""
    global _current
    outer = _current
    with Meter(folder) as _current:
        try:
            yield _current
        finally:
            _current = outer


def note(
    tokens_in: int = 0,
    tokens_out: int = 0,
    *,
    part: str | None = None,
    source: str = HERE,
    requests: int = 0,
    cached: int = 0,
    prices: Prices | None = None,
) -> None:
    """Count tokens of a part of the run (default: that of `during`). `source` is who computed them, such as a server's
    address and model; `prices` are its prices where they are known."""
    if _current is None:
        return
    if prices is not None and prices.known:
        _current.prices[source] = prices
    _current.note(part or _part.get(), source, Tokens(tokens_in, tokens_out, requests, cached), at_once=source != HERE)


def counted(part: str) -> dict[str, Tokens]:
    """What the open run has used of a part so far, earlier sessions included, by source."""
    if _current is None:
        return {}
    return {source: tokens for (name, source), tokens in _current.tokens.items() if name == part}


def uses(device: str, count: int | None = None) -> None:
    """Note that `count` devices are in use from now on (default: one for each process); `device` is cuda or cpu."""
    if _current is None:
        return
    torch = sys.modules.get("torch")
    count = count or int(os.environ.get("WORLD_SIZE", "1"))
    if device == "cuda" and torch is not None and torch.cuda.is_available():
        _current.uses(torch.cuda.get_device_name(0), count)
    else:
        _current.uses("cpu", count * (torch.get_num_threads() if torch is not None else os.cpu_count() or 1))
