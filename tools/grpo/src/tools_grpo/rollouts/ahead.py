"""Groups judged while others are sampled: rewards that take long get each group as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tools_shared.engines import Completion
from tools_shared.rewards import Reward

Call = Callable[[Reward, Sequence[dict[str, Any]], Sequence[Completion]], list[float | None]]


@dataclass
class _Group:
    rows: Sequence[dict[str, Any]]
    completions: Sequence[Completion]
    scores: Future[list[float | None]] = field(default_factory=Future)


class JudgedAhead:
    """One reward's groups that are being scored. A single thread calls the reward, with all groups that have come in
    meanwhile at once: it never asks for more side by side than the reward allows."""

    def __init__(self, reward: Reward, call: Call) -> None:
        self.reward, self.call = reward, call
        self._waiting: list[_Group] = []
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"reward {reward.name}")
        self._known: dict[int, tuple[_Group, int]] = {}

    def add(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> None:
        group = _Group(rows, list(completions))
        for i, completion in enumerate(completions):
            self._known[id(completion)] = group, i
        with self._lock:
            self._waiting.append(group)
        self._thread.submit(self._work)

    def _work(self) -> None:
        with self._lock:
            groups, self._waiting = self._waiting, []
        if not groups:
            return
        rows = [row for group in groups for row in group.rows]
        completions = [completion for group in groups for completion in group.completions]
        try:
            scores = self.call(self.reward, rows, completions)
        except BaseException as error:  # noqa: BLE001 - raised again where the scores are taken
            for group in groups:
                group.scores.set_exception(error)
            return
        start = 0
        for group in groups:
            group.scores.set_result(scores[start : start + len(group.completions)])
            start += len(group.completions)

    def take(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> list[float | None]:
        """The scores of completions, waited for where they are under way, asked for where they are not. Raises what the
        reward raised."""
        found = [self._known.pop(id(completion), None) for completion in completions]
        if None in found:
            return self.call(self.reward, rows, completions)
        return [group.scores.result()[i] for group, i in found]
