"""Orderly stopping: the first SIGTERM or Ctrl-C lets a step end and a checkpoint be written, the second stops at once.

The handlers are set and not inherited, so they hold for the first process of a container too, which the kernel
shields from signals without one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools_shared.errors import Incomplete

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether the run has been asked to stop, and why; `reason` is the beginning of the sentence that says so."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._heard = False
        self._waits_for_step = False

    def ask(self, reason: str) -> None:
        """Stop after this step; the first reason counts."""
        self.reason = self.reason or reason

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Within the block the signals come here; outside of training they raise Incomplete, the draft kept."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def after_the_step(self) -> Iterator[None]:
        """Within the block a signal only asks: the loop looks at `reason` at the end of each step."""
        self._waits_for_step = True
        try:
            yield
        finally:
            self._waits_for_step = False

    def _on_signal(self, number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        if self._heard:
            _write(f"stopped at once by a second {name}; run the same command again to resume\n")
            os._exit(Incomplete.exit_code)
        self._heard = True
        if not self._waits_for_step:
            raise Incomplete(f"stopped by {name}; what is finished is kept, run the same command again to resume")
        self.ask(f"stopped by {name}")
        _write(f"{name}: finishing this step and writing a checkpoint; a second signal stops at once\n")


def _write(message: str) -> None:
    """Straight to the terminal: a handler that comes in the middle of a buffered write may not begin another."""
    os.write(2, message.encode())
