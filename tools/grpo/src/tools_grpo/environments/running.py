"""Running a user's tools: each call has a time and a size, and its faults are text for the model.

A call runs in a thread. One that does not return in time is left behind: Python cannot end a thread that waits outside
it, but one that computes gets an exception at its next instruction. A run that leaves MOST_LEFT behind is ended.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools_grpo.environments.calls import Wanted
from tools_grpo.environments.load import told
from tools_shared.errors import Incomplete, brief

MOST_LEFT = 32
"""Calls that may be left behind in a run."""
AT_ONCE = 32
"""Calls that run beside each other."""


@dataclass(frozen=True)
class Call:
    """A call that was made: `result` is what the model was shown of `n_characters`; `is_error`, that it is a fault."""

    name: str
    arguments: Mapping[str, Any]
    result: str
    is_error: bool = False
    n_characters: int = 0


class LateError(Exception):
    """A call that did not return in time."""


@dataclass
class Runner:
    """Runs calls within `timeout` seconds each; a result is cut at `limit` characters."""

    timeout: float
    limit: int
    left: list[threading.Thread] = field(default_factory=list)

    def all(self, work: list[Callable[[], Any]]) -> list[Any]:
        """What each returns, or the exception that it raised, AT_ONCE beside each other."""
        found: list[Any] = []
        for start in range(0, len(work), AT_ONCE):
            found += self._together(work[start : start + AT_ONCE])
        return found

    def _together(self, work: list[Callable[[], Any]]) -> list[Any]:
        results: list[Any] = [LateError(f"no result within {self.timeout:g} s")] * len(work)
        threads = [threading.Thread(target=_into, args=(results, i, one), daemon=True) for i, one in enumerate(work)]
        deadline = time.monotonic() + self.timeout
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        found = list(results)
        for thread in threads:
            if thread.is_alive():
                self._leave(thread)
        return found

    def _leave(self, thread: threading.Thread) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        self.left = [one for one in [*self.left, thread] if one.is_alive()]
        if len(self.left) >= MOST_LEFT:
            raise Incomplete(
                f"{len(self.left)} calls of tools have not returned within --tool-timeout {self.timeout:g}; fix the "
                "tool or raise it, and run the same command"
            )

    def call(self, wanted: Wanted, tools: Mapping[str, Callable[..., Any]]) -> Callable[[], str]:
        """The work of one call; what is wrong with it is raised when it runs."""

        def run() -> str:
            if wanted.fault:
                raise ValueError(wanted.fault)
            if wanted.name not in tools:
                raise ValueError(f"there is no tool {brief(wanted.name)}; there is {', '.join(tools)}")
            return _text(tools[wanted.name](**wanted.arguments))

        return run

    def answered(self, wanted: Wanted, found: Any) -> Call:
        """A call with the text that the model is shown."""
        is_error = isinstance(found, BaseException)
        text = f"error: {told(found)}" if is_error else found
        cut = text if len(text) <= self.limit else f"{text[: self.limit]}\n(cut: {len(text)} characters)"
        return Call(wanted.name, wanted.arguments, cut, is_error, len(text))


def _into(results: list[Any], i: int, work: Callable[[], Any]) -> None:
    try:
        results[i] = work()
    except SystemExit as error:
        results[i] = LateError(f"the tool ended itself ({error})")
    except Exception as error:  # noqa: BLE001 - the user's own code; the model is told
        results[i] = error


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
