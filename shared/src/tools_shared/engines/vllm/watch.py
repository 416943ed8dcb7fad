"""The rules of `--prune` over vLLM's requests: its worker writes numbers of each token, and what goes is aborted here.

The decisions are those of the other engine, made by the same code from the same tokens; vLLM is given a logits
processor and an extension of its worker, both by name, and its own `abort_request`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
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
        self._traces: dict[str, RunningTrace] = {}
        self._names: dict[int, str] = {}
        self._numbers: dict[str, dict[int, tuple[float, float]]] = {}
        self._due: list[tuple[RunningTrace, Pruned]] = []
        self._n_begun = 0
        self._ring: Numbers | None = None
        if watcher.rules.by_state or watcher.rules.by_confidence:
            self._folder = tempfile.TemporaryDirectory(prefix="tools-numbers-")
            path = Path(self._folder.name) / "ring"
            self._ring = Numbers(path, make=True)
            scorer = str(watcher.scorer.path.resolve()) if watcher.scorer else None
            llm.collective_rpc("tools_watch", args=(str(path), scorer, watcher.rules.by_confidence))

    def around(self, take: Take, on_draw: OnDraw) -> Take:
        return partial(self.watcher.next, take, on_draw)

    def begin(self, name: str, draw: Draw, params: SamplingParams) -> None:
        """A request is about to be added: its tokens are to come one by one, its numbers under a number of its own."""
        from vllm.sampling_params import RequestOutputKind

        params.output_kind = RequestOutputKind.CUMULATIVE
        params.extra_args = (params.extra_args or {}) | {REQUEST: self._n_begun}
        self._traces[name] = self.watcher.begin(draw)
        self._names[self._n_begun] = name
        self._numbers[name] = {}
        self._n_begun += 1

    def see(self, outputs: Sequence[Any]) -> None:
        """Tell of the tokens that a step of the engine brought."""
        for number, token, score, confidence in self._ring.read() if self._ring else ():
            if (found := self._numbers.get(self._names.get(number, ""))) is not None:
                found[token] = (score, confidence)
        for output in outputs:
            trace = self._traces.get(output.request_id)
            if trace is None:
                continue
            self._see(trace, output.outputs[0].token_ids, self._numbers[output.request_id])
            if output.finished:
                self.watcher.leave(trace)
        self._due = self.watcher.due()

    def _see(self, trace: RunningTrace, token_ids: Sequence[int], numbers: dict[int, tuple[float, float]]) -> None:
        """Record t - 1 was written when token t was sampled: the confidence of t, and the state that t - 1 left."""
        for at in range(len(trace.tokens), len(token_ids)):
            score, confidence = numbers.pop(at - 1, (0.0, 0.0))
            watched = confidence if self.watcher.rules.by_confidence else None
            if self.watcher.see(trace, token_ids[at], watched):
                self.watcher.score(trace, score)

    def stopped(self) -> list[tuple[str, Completion]]:
        """The requests that go now, as completions."""
        names = {trace: name for name, trace in self._traces.items()} if self._due else {}
        found = [(names[trace], self.watcher.completion(trace, pruned)) for trace, pruned in self._due]
        for name, _ in found:
            self._forget(name)
        return found

    def end(self, name: str, completion: Completion) -> Completion:
        """A request has come to its own end."""
        told = self.watcher.end(self._traces[name], completion.text)
        self._forget(name)
        return replace(completion, **told)

    def drop(self, name: str) -> None:
        """A request is wanted no more."""
        self.watcher.leave(self._traces[name])
        self._forget(name)

    def _forget(self, name: str) -> None:
        del self._traces[name], self._numbers[name]
        self._names = {number: other for number, other in self._names.items() if other != name}
