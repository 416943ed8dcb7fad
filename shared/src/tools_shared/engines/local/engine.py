"""Sampling with transformers, on any device.

A running batch of slots that completions enter and leave one by one (`continuous.py`); models whose layers have no
slots sample in fixed batches (`fixed.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from tools_shared.devices import dtype_name
from tools_shared.engines.local.continuous import MIN_SLOTS, SlotBatch, SlotRow, has_slots
from tools_shared.engines.local.fixed import StaticBatches, batches
from tools_shared.engines.local.formats import in_format
from tools_shared.engines.local.hidden import keeping
from tools_shared.engines.local.prefill import Ahead, OneByOne, PrefillReader
from tools_shared.engines.local.watch import watching
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Completion, Draw, OnDraw, SamplingParams, Take, check_fits
from tools_shared.errors import ToolError
from tools_shared.models.load import context_length, kv_bytes
from tools_shared.prompts.ends import stop_ids, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 65_536
"""Most tokens (rows times prompt and completion length) in one batch."""
MAX_SLOTS = 128
"""Most slots of `generate`; more were not faster on any machine measured (docs/benchmarks-traces.md)."""
MEMORY_SHARE = 0.3
"""Most of the free memory that a batch's keys and values may take."""


class TransformersEngine(StreamingEngine):
    """Samples completions with a loaded causal language model.

    The same sample gives the same tokens in any batch. `stream` keeps to it to the last bit; `generate` up to the
    rounding of the matrix products, which the number of rows can change in the last digit.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype | None = None
    ) -> None:
        """`dtype` is what all weights are sampled in, the adapter's too; None: each as it is."""
        self.model, self.dtype = model, dtype
        self.sampled_in = dtype_name(dtype or model.dtype)
        self.tokenizer: PreTrainedTokenizerBase = tokenizer
        self.stop_ids = stop_ids(tokenizer, model.generation_config.eos_token_id)
        self.context_length = context_length(model.config)
        self.kept_layers: tuple[int, ...] = ()
        """Layers whose states come with each completion of `stream` (0 is the embedding; the last is normed)."""

    def draw_all(self, draws: Sequence[Draw], params: SamplingParams, on_draw: OnDraw) -> None:
        """Prompts are read several at a time, longest first: what does not fit into the memory fails at once."""
        if not has_slots(self.model.config):
            self._check_unwatched(params)
            self._static(draws, params, on_draw)
            return
        by_turns = params.prune and self.watcher is not None and self.watcher.by_turns
        draws = sorted(draws, key=lambda draw: (draw.sample if by_turns else 0, -len(draw.prompt.token_ids)))
        ahead = Ahead(self.model, [draw.prompt.token_ids for draw in draws], self.tokenizer.pad_token_id)
        self._stream(partial(next, iter(draws), None), params, on_draw, self._n_slots(draws, params), ahead)

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """See `Engine.stream`. The completions of a sample are the same whatever else is sampled, for a given
        `n_slots`, machine and number of threads; for models without slots up to rounding."""
        if has_slots(self.model.config):
            self._stream(take, params, on_draw, max(n_slots, MIN_SLOTS), OneByOne(self.model))
            return
        self._check_unwatched(params)
        while wave := list(iter(take, None)):
            _check_fit(wave, self.context_length, params)
            self._static(wave, params, on_draw)

    def _stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int, read: PrefillReader) -> None:
        may_shrink = isinstance(read, Ahead)  # else the number of slots is what a sample's bits depend on
        watcher = self.watcher if params.prune else None
        layers = self.kept_layers if isinstance(read, OneByOne) else ()
        with self.drawing(), watching(self.model, watcher) as watch, keeping(self.model, layers) as kept:
            ends = self.stop_ids, self.tokenizer.pad_token_id
            batch = SlotBatch(self.model, n_slots, params, *ends, read, watch, kept)
            if watcher is not None:
                take = partial(watcher.next, take, on_draw)
            while True:
                n_free = len(batch.free)
                while n_free and (draw := take()) is not None:
                    _check_fit([draw], self.context_length, params)
                    batch.enter(draw)
                    n_free -= 1
                if not batch.n_running:
                    return
                if n_free and may_shrink:
                    batch.shrink()
                for row in batch.step():
                    on_draw(row.draw, self._completion(row, params))

    def _check_unwatched(self, params: SamplingParams) -> None:
        if params.prune and self.watcher is not None:
            raise ToolError(
                f"--prune: a {type(self.model).__name__} has layers with a window or a state of their own, which are "
                "sampled in fixed batches; leave --prune out, or take --engine vllm"
            )

    def _static(self, draws: Sequence[Draw], params: SamplingParams, on_draw: OnDraw) -> None:
        with self.drawing():
            drawer = StaticBatches(self.model, params, self.stop_ids, self.tokenizer.pad_token_id)
            for batch in batches([SlotRow(draw) for draw in draws], params.max_new_tokens, self._token_budget()):
                drawer.draw(batch)
                for row in batch:
                    on_draw(row.draw, self._completion(row, params))

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Without gradients, in evaluation mode and the format to sample in; what was before is given back."""
        was_training = self.model.training
        self.model.eval()
        try:
            with in_format(self.model, self.dtype), torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)

    def _n_slots(self, draws: Sequence[Draw], params: SamplingParams) -> int:
        widest = max((len(draw.prompt.token_ids) for draw in draws), default=0) + params.max_new_tokens
        wanted = -(-len(draws) // MIN_SLOTS) * MIN_SLOTS
        return max(MIN_SLOTS, min(MAX_SLOTS, wanted, self._token_budget() // widest))

    def _token_budget(self) -> int:
        token_bytes = kv_bytes(self.model.config, self.dtype or self.model.dtype)
        return max(1, min(MAX_BATCH_TOKENS, int(MEMORY_SHARE * _free_memory(self.model.device) / token_bytes)))

    def _completion(self, row: SlotRow, params: SamplingParams) -> Completion:
        text, told = text_of(self.tokenizer, row.tokens, self.stop_ids), {}
        if self.watcher is not None and row.trace is not None:
            if row.pruned is not None:
                return self.watcher.completion(row.trace, row.pruned)
            told = self.watcher.end(row.trace, text)
        return Completion(
            text=text,
            token_ids=tuple(row.tokens),
            finish_reason="stop" if row.stopped else "length",
            logprobs=tuple(row.logprobs) if params.logprobs else None,
            states=torch.stack(row.states).cpu() if row.states else None,
            **told,
        )


def _check_fit(draws: Sequence[Draw], context_length: int | None, params: SamplingParams) -> None:
    prompts, keys = [draw.prompt for draw in draws], [draw.key for draw in draws]
    check_fits(prompts, keys, context_length, params.max_new_tokens)


def _free_memory(device: torch.device) -> int:
    """Bytes that can be taken on the device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
