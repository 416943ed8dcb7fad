"""What runs inside vLLM's worker for `--prune`: a custom logits processor, and an extension of the worker.

vLLM loads both by name, and nothing of it is changed. The extension keeps the hidden states that the model turns into
logits; the processor, which is told which row is which request, scores them with the probe and writes the numbers of
each row for the process that asks (`numbers.py`). Neither changes a logit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from tools_shared.engines.local.sampling import confidences
from tools_shared.pruning.numbers import REQUEST, Numbers
from tools_shared.pruning.rules import TOP
from tools_shared.scorers.scorer import Scorer, load_scorer, select_features


class _Shared:
    """What the extension gives to the processors of its process."""

    numbers: Numbers | None = None
    scorer: Scorer | None = None
    by_confidence: bool = False
    states: torch.Tensor | None = None


class WatchExtension:
    """Methods that vLLM gives its worker (`worker_extension_cls`)."""

    model_runner: Any

    def tools_watch(self, path: str, scorer: str | None, by_confidence: bool) -> None:
        """Write numbers into the file `path` from now on: those of a scorer, confidences, or both."""
        model = self.model_runner.get_model()
        if scorer is not None:
            _Shared.scorer = load_scorer(scorer)
            _Shared.scorer.module.to(next(model.parameters()).device)
            model.compute_logits = _keeping(model.compute_logits)
        _Shared.by_confidence = by_confidence
        _Shared.numbers = Numbers(Path(path))


def _keeping(compute_logits: Any) -> Any:
    def kept(hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        _Shared.states = hidden_states
        return compute_logits(hidden_states, *args, **kwargs)

    return kept


class WatchProcessor(LogitsProcessor):
    """Hands the logits on as they are. Requests without a number of ours are not looked at."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[int, list[int]]] = {}

    def is_argmax_invariant(self) -> bool:
        """It changes nothing, but vLLM leaves out those that say so where all is greedy."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        process_dict_updates(self._rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._rows or _Shared.numbers is None:
            return logits
        index = sorted(self._rows)
        requests = [self._rows[row][0] for row in index]
        tokens = [len(self._rows[row][1]) - 1 for row in index]
        with torch.inference_mode():
            confident = confidences(logits[index], TOP).tolist() if _Shared.by_confidence else 0.0
            _Shared.numbers.write(requests, tokens, self._scores(index), confident)
        return logits

    def _scores(self, index: list[int]) -> Any:
        if _Shared.scorer is None or _Shared.states is None:
            return 0.0
        x = select_features(_Shared.states[index][:, None], _Shared.scorer.facts.features)
        return _Shared.scorer.module.probability(x.float()).tolist()


def _row(params: SamplingParams, prompt: list[int] | None, output: list[int]) -> tuple[int, list[int]] | None:
    number = (params.extra_args or {}).get(REQUEST)
    return None if number is None else (number, output)
