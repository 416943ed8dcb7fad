"""Progress of long work: a bar on a terminal, otherwise a line from time to time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from tools_shared import processes
from tools_shared.console.text import shown, tell

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

SECONDS = 30.0
"""Without a terminal, which would show a bar, a line comes at least this often."""
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {elapsed} elapsed, about {remaining} left{postfix}"
LINE_WITHOUT_TOTAL = "{desc}: {n_fmt} {unit}s, {elapsed} elapsed{postfix}"

_bars: list[Progress[Any]] = []


@contextmanager
def above_bars() -> Iterator[None]:
    """What is written in the block comes above the bars that a terminal shows."""
    if not _bars:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        yield


class Progress(Generic[T]):
    """How much of some work is done: a bar with the time left on a terminal, otherwise a line every `SECONDS`.

    Iterate over it, or use it as a context and call `update` as pieces are done. The lines come from a thread, so one
    also comes while a single piece takes minutes. Of several processes rank 0 shows it.
    """

    def __init__(
        self, items: Iterable[T] | None, total: int | None, label: str, unit: str, initial: int, every: float
    ) -> None:
        self._items: Iterable[T] = () if items is None else items
        self.total = len(items) if total is None and isinstance(items, Sized) else total
        self.n, self._initial, self._label, self._unit = initial, initial, shown(label), unit
        self._note, self._began, self._every = "", time.monotonic(), every
        self._over = threading.Event()
        self._bar: tqdm[Any] | None = None

    def _open_bar(self) -> tqdm[Any]:
        from tqdm import tqdm

        _bars.append(self)
        return tqdm(
            total=self.total,
            initial=self._initial,
            desc=self._label,
            unit=f" {self._unit}",
            leave=False,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Progress[T]:
        self._began = time.monotonic()
        if processes.is_main() and sys.stderr.isatty():
            self._bar = self._open_bar()
        elif processes.is_main():  # a bar would write carriage returns into a log file
            threading.Thread(target=self._write_lines, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        with self:
            for item in self._items:
                yield item
                self.update()

    def update(self, n: int = 1) -> None:
        """`n` more pieces are done."""
        self.n += n
        if self._bar is not None:
            self._bar.update(n)

    def note(self, text: str) -> None:
        """What else is known of the work so far, such as `loss 0.31`."""
        self._note = shown(text)
        if self._bar is not None:
            self._bar.set_postfix_str(self._note, refresh=False)

    def close(self) -> None:
        self._over.set()
        if self._bar is not None and self in _bars:
            _bars.remove(self)
            self._bar.close()

    def line(self) -> str:
        """The state in one line: pieces done, time elapsed and time left."""
        from tqdm import tqdm

        meter: str = tqdm.format_meter(
            self.n,
            self.total,  # type: ignore[arg-type]  # None where it is not known, which the stub does not say
            time.monotonic() - self._began,
            prefix=self._label,
            unit=self._unit,
            initial=self._initial,
            postfix=self._note,
            bar_format=LINE_WITHOUT_TOTAL if self.total is None else LINE,
        )
        return meter

    def _write_lines(self) -> None:
        while not self._over.wait(self._every):
            tell(self.line())


@overload
def progress(
    items: Iterable[T],
    *,
    total: int | None = None,
    label: str = "",
    unit: str = "item",
    initial: int = 0,
    every: float = SECONDS,
) -> Progress[T]: ...


@overload
def progress(
    items: None = None,
    *,
    total: int | None = None,
    label: str = "",
    unit: str = "item",
    initial: int = 0,
    every: float = SECONDS,
) -> Progress[Any]: ...


def progress(
    items: Iterable[Any] | None = None,
    *,
    total: int | None = None,
    label: str = "",
    unit: str = "item",
    initial: int = 0,
    every: float = SECONDS,
) -> Progress[Any]:
    """Show how far some work is; `initial` pieces were done before, and do not count for the time left."""
    return Progress(items, total, label, unit, initial, every)
