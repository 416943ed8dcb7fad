"""What runs inside vLLM's worker for `--prune`: a custom logits processor, and an extension of the worker.

vLLM loads both by name, and nothing of it is changed. The extension keeps the hidden states that the model turns into
logits; the processor, which is told which row is which request, scores them with the probe and writes the numbers of
each row for the process that asks (`numbers.py`). Neither changes a logit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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
    ends: frozenset[int] = frozenset()
    """Tokens at which a step can end."""
    states: torch.Tensor | None = None


class WatchExtension:
    """Methods that vLLM gives its worker (`worker_extension_cls`)."""

    model_runner: Any

    def tools_watch(self, path: str, scorer: str | None, by_confidence: bool, ends: list[int]) -> None:
        """Write numbers into the file `path` from now on: those of a scorer after the tokens `ends`, confidences of
        every token, or both."""
        model = self.model_runner.get_model()
        if scorer is not None:
            _Shared.scorer = load_scorer(scorer)
            _Shared.scorer.module.to(next(model.parameters()).device)
            model.compute_logits = _keeping(model.compute_logits)
        _Shared.by_confidence, _Shared.ends = by_confidence, frozenset(ends)
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
        self._ordered: list[tuple[int, int, list[int]]] = []

    def is_argmax_invariant(self) -> bool:
        """It changes nothing, but vLLM leaves out those that say so where all is greedy."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        if batch_update is not None:
            process_dict_updates(self._rows, batch_update, _row)
            self._ordered = [(row, *self._rows[row]) for row in sorted(self._rows)]

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        if not self._ordered or _Shared.numbers is None:
            return logits
        watched, ends = self._ordered, _Shared.ends
        if not _Shared.by_confidence:
            watched = [found for found in watched if found[2] and found[2][-1] in ends]
        if watched:
            self._write(_Shared.numbers, watched, logits)
        return logits

    def _write(self, numbers: Numbers, watched: list[tuple[int, int, list[int]]], logits: torch.Tensor) -> None:
        """One record a row. The score is that of the state that the row's last token left, 0 where no step can have
        ended at it."""
        index = [row for row, _, _ in watched]
        confident: Any = 0.0
        with torch.inference_mode():
            if _Shared.by_confidence:
                asked = logits if len(index) == len(logits) else logits[index]
                confident = confidences(asked, TOP).numpy(force=True)
            scores = self._scores(watched)
        numbers.write(
            [number for _, number, _ in watched], [len(output) - 1 for _, _, output in watched], scores, confident
        )

    def _scores(self, watched: list[tuple[int, int, list[int]]]) -> Any:
        scorer, states = _Shared.scorer, _Shared.states
        if scorer is None or states is None:
            return 0.0
        asked = [i for i, (_, _, output) in enumerate(watched) if output and output[-1] in _Shared.ends]
        scores = np.zeros(len(watched))
        if asked:
            x = select_features(states[[watched[i][0] for i in asked]][:, None], scorer.facts.features)
            scores[asked] = scorer.module.probability(x.float()).numpy(force=True)
        return scores


def _row(params: SamplingParams, prompt: list[int] | None, output: list[int]) -> tuple[int, list[int]] | None:
    number = (params.extra_args or {}).get(REQUEST)
    return None if number is None else (number, output)
