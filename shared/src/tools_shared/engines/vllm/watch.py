"""The rules of `--prune` over vLLM's requests: its worker writes numbers of each token, and what goes is aborted here.

The decisions are those of the other engine, made by the same code from the same tokens; vLLM is given a logits
processor and an extension of its worker, both by name, and its own `abort_request`. Tokens are read where its client
takes them from its worker: asking for an output object at every token costs more than a small model's step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.engines.types import Completion, Draw, OnDraw, Take
from tools_shared.errors import ToolError
from tools_shared.pruning.numbers import REQUEST, Numbers
from tools_shared.pruning.rules import Pruned
from tools_shared.pruning.watch import RunningTrace, Watcher

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

WORKER = "tools_shared.pruning.vllm_worker"
_NOTHING = (0.0, 0.0)


def watching_options(watcher: Watcher) -> dict[str, Any]:
    """Options of `vllm.LLM` that make it write numbers. Raises ToolError for a scorer of states that it does not show
    while it samples: those of other layers than the last, and before the final norm."""
    scorer, rules = watcher.scorer, watcher.rules
    if scorer is not None:
        facts = scorer.facts
        if len(facts.layers) != 1 or facts.reader["norm"] != "post":
            raise ToolError(
                f"--prune {rules.words['step']}: the scorer reads layers {', '.join(map(str, facts.layers))} "
                f"({facts.reader['norm']}-norm), and vLLM shows the last one after the norm while it samples; "
                "take --engine transformers, or extract with --layers -1"
            )
    if not (rules.by_state or rules.by_confidence):
        return {}
    return {"logits_processors": [f"{WORKER}:WatchProcessor"], "worker_extension_cls": f"{WORKER}.WatchExtension"}


class WatchedRequests:
    """The running requests as traces."""

    def __init__(self, llm: LLM, watcher: Watcher) -> None:
        self.watcher = watcher
        self._running: dict[str, _Watched] = {}
        self._by_id: dict[str, _Watched] = {}
        self._by_number: dict[int, _Watched] = {}
        self._due: list[tuple[RunningTrace, Pruned]] = []
        self._n_begun = 0
        self._ring: Numbers | None = None
        self._outputs: Sequence[Any] = ()
        self._listen(llm.llm_engine.engine_core)
        if watcher.rules.by_state or watcher.rules.by_confidence:
            self._folder = tempfile.TemporaryDirectory(prefix="tools-numbers-")
            path = Path(self._folder.name) / "ring"
            self._ring = Numbers(path, make=True)
            scorer = str(watcher.scorer.path.resolve()) if watcher.scorer else None
            ends = watcher.ends.candidates() if watcher.ends else []
            llm.collective_rpc("tools_watch", args=(str(path), scorer, watcher.rules.by_confidence, ends))

    def _listen(self, core: Any) -> None:
        """Keep what the client of vLLM's worker has received last."""
        receive = core.get_output

        def received() -> Any:
            told = receive()
            self._outputs = told.outputs
            return told

        core.get_output = received

    def around(self, take: Take, on_draw: OnDraw) -> Take:
        return partial(self.watcher.next, take, on_draw)

    def marked(self, params: SamplingParams) -> SamplingParams:
        """A request is about to be added: its numbers are to come under a number of its own."""
        params.extra_args = (params.extra_args or {}) | {REQUEST: self._n_begun}
        return params

    def begin(self, name: str, request_id: str, draw: Draw) -> None:
        """A request has been added, under an id that vLLM made of the name."""
        watched = _Watched(name, request_id, self._n_begun, self.watcher.begin(draw))
        self._running[name] = self._by_id[request_id] = self._by_number[watched.number] = watched
        self._n_begun += 1

    def see(self) -> None:
        """Tell of the tokens that a step of the engine brought."""
        for number, token, score, confidence in self._ring.read() if self._ring else ():
            if (watched := self._by_number.get(number)) is not None:
                watched.numbers[token] = (score, confidence)
        for output in self._outputs:
            if (watched := self._by_id.get(output.request_id)) is not None:
                self._see(watched, output.new_token_ids)
                if output.finish_reason is not None:
                    self.watcher.leave(watched.trace)
        self._outputs = ()
        self._due = self.watcher.due()

    def _see(self, watched: _Watched, token_ids: Sequence[int]) -> None:
        """Record t - 1 was written when token t was sampled: the confidence of t, and the state that t - 1 left."""
        trace, watcher = watched.trace, self.watcher
        for token in token_ids:
            score, confidence = watched.numbers.pop(len(trace.tokens) - 1, _NOTHING)
            if watcher.see(trace, token, confidence if watcher.rules.by_confidence else None):
                watcher.score(trace, score)

    def stopped(self) -> list[tuple[str, Completion]]:
        """The requests that go now, as completions."""
        names = {watched.trace: name for name, watched in self._running.items()} if self._due else {}
        found = [(names[trace], self.watcher.completion(trace, pruned)) for trace, pruned in self._due]
        self._due = []
        for name, _ in found:
            self._forget(name)
        return found

    def end(self, name: str, completion: Completion) -> Completion:
        """A request has come to its own end."""
        told = self.watcher.end(self._running[name].trace, completion.text)
        self._forget(name)
        return replace(completion, **told)

    def drop(self, name: str) -> None:
        """A request is wanted no more."""
        self.watcher.leave(self._running[name].trace)
        self._forget(name)

    def _forget(self, name: str) -> None:
        watched = self._running.pop(name)
        del self._by_id[watched.request_id], self._by_number[watched.number]


@dataclass(eq=False)
class _Watched:
    """A running request, by the name that it was given, vLLM's id, and its number in the records."""

    name: str
    request_id: str
    number: int
    trace: RunningTrace
    numbers: dict[int, tuple[float, float]] = field(default_factory=dict)
