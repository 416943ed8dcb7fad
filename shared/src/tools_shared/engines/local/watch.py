"""What the rules of `--prune` see of a batch of slots: confidences from its logits, and states at the ends of steps.

The states come from hooks on the decoder's blocks and cost nothing until a step ends: then the rows that ended one are
scored together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from tools_shared.devices import torch_dtype
from tools_shared.engines.local.hidden import listen
from tools_shared.engines.local.sampling import confidences
from tools_shared.pruning.rules import TOP
from tools_shared.pruning.watch import RunningTrace, Watcher
from tools_shared.scorers.scorer import Scorer


class SlotWatch:
    """Carries what a step of the batch gave to the rules."""

    def __init__(self, watcher: Watcher, scorer: Scorer | None) -> None:
        self.watcher, self.scorer = watcher, scorer
        self._is_listening = False
        self._kept: dict[int, torch.Tensor] = {}

    def see(self, traces: Sequence[RunningTrace | None], tokens: torch.Tensor, logits: torch.Tensor) -> None:
        """Tell of each slot's new token, sampled from `logits`, and score the steps that end before it."""
        confident: Sequence[float | None] = [None] * len(traces)
        if self.watcher.rules.by_confidence:
            confident = confidences(logits, TOP).tolist()
        asked: list[tuple[int, RunningTrace]] = []
        for slot, (trace, token) in enumerate(zip(traces, tokens.tolist(), strict=True)):
            if trace is not None and self.watcher.see(trace, token, confident[slot]):
                asked.append((slot, trace))
        if asked and self.scorer is not None:
            probabilities = self.scorer.probabilities(self._states([slot for slot, _ in asked], self.scorer))
            for (_, trace), probability in zip(asked, probabilities, strict=True):
                self.watcher.score(trace, probability)

    def _states(self, slots: list[int], scorer: Scorer) -> torch.Tensor:
        """[n, n_layers, hidden] of these slots' last fed token, rounded as the training's states were."""
        rows = torch.stack([self._kept[layer][slots] for layer in scorer.facts.layers], dim=1)
        return rows.to(torch_dtype(str(scorer.facts.reader.get("dtype", "fp32")))).cpu()

    def keep(self, index: torch.Tensor) -> None:
        """The slots have been put in another order."""
        self._kept = {layer: states[index] for layer, states in self._kept.items()}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the batch feeds its tokens; prompts that are read in between are not looked at."""
        self._is_listening = True
        try:
            yield
        finally:
            self._is_listening = False

    def note(self, layer: int, states: torch.Tensor) -> None:
        """`states` [slots, 1, hidden]"""
        if self._is_listening:
            self._kept[layer] = states[:, -1]


@contextmanager
def watching(model: nn.Module, watcher: Watcher | None) -> Iterator[SlotWatch | None]:
    """What watches a model's batches by these rules, listening to the layers that the scorer reads; None without."""
    if watcher is None:
        yield None
        return
    watch = SlotWatch(watcher, watcher.scorer)
    scorer, hooks = watcher.scorer, []
    if scorer is not None:
        hooks = listen(model, scorer.facts.layers, scorer.facts.reader["norm"] == "post", watch.note)
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()
