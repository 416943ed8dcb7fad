"""What the rules of `--prune` see of a batch of slots: confidences from its logits, and states at the ends of steps.

The states come from hooks on the decoder's blocks and cost nothing until a step ends: then the rows that ended one are
scored together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tools_shared.devices import torch_dtype
from tools_shared.engines.local.sampling import confidences
from tools_shared.errors import ToolError
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
    hooks = _listen(model, watch, watcher.scorer) if watcher.scorer is not None else []
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def _listen(model: nn.Module, watch: SlotWatch, scorer: Scorer) -> list[Any]:
    blocks, norm = _decoder(model)
    hooks = []
    for layer in scorer.facts.layers:
        if layer == len(blocks) and scorer.facts.reader["norm"] == "post":
            hooks.append(norm.register_forward_hook(_after(watch, layer)))
        else:
            module = blocks[layer] if layer < len(blocks) else norm
            hooks.append(module.register_forward_pre_hook(_before(watch, layer), with_kwargs=True))
    return hooks


def _before(watch: SlotWatch, layer: int) -> Any:
    def listen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch.note(layer, args[0] if args else kwargs["hidden_states"])

    return listen


def _after(watch: SlotWatch, layer: int) -> Any:
    def listen(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
        watch.note(layer, output)

    return listen


def _decoder(model: nn.Module) -> tuple[nn.ModuleList, nn.Module]:
    """The blocks and the final norm, as Llama and Qwen have them; raises ToolError for a model without."""
    for module in model.modules():
        parts = dict(module.named_children())
        if isinstance(parts.get("layers"), nn.ModuleList) and "norm" in parts:
            return parts["layers"], parts["norm"]
    raise ToolError(f"--prune step: a {type(model).__name__} has no 'layers' and 'norm' as Llama and Qwen do")
