"""Continuous batching: rows enter and leave a running batch one by one, so a long completion does not delay others.

Each slot is a row of the key-value cache whose tokens begin at column 0. All slots are computed at every step, taken
or not, and the columns that attention sees are a multiple of STRIDE. So the matrix products have the same shapes
whatever runs beside a row, and its logits the same bits: a sample cannot be flipped by rounding. (This asks of the
kernels only that the place of a row in the batch and columns of weight 0 behind it do not matter; it is tested.)
A slot keeps its prompt's keys and values until another prompt takes the place: sampling once more costs no reading.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from tools_shared.engines.local.attention import grouped
from tools_shared.engines.local.hidden import KeptStates
from tools_shared.engines.local.prefill import PrefillReader, ReadPrompt
from tools_shared.engines.local.sampling import log_probs, pick, uniforms
from tools_shared.engines.local.watch import SlotWatch
from tools_shared.engines.types import Draw, SamplingParams
from tools_shared.pruning.rules import Pruned
from tools_shared.pruning.watch import RunningTrace, Watcher

STRIDE = 64
"""The columns of the cache are taken in these portions; sums over fewer depend on how many there are."""
MIN_SLOTS = 16
"""Products with fewer rows go to other kernels, which round differently."""


def has_slots(config: PreTrainedConfig) -> bool:
    """Whether every layer attends to all tokens; sliding windows and recurrent states have no slots."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=config).layers)


@dataclass
class _Frame:
    """Where this step's tokens go: `positions` (slots,), and how many columns attention sees."""

    positions: torch.Tensor
    width: int = 0


class SlotLayer(DynamicLayer):
    """Keys and values of one layer, each (slots, heads, capacity, head size)."""

    keys: torch.Tensor
    values: torch.Tensor
    is_initialized: bool

    def __init__(self, frame: _Frame) -> None:
        super().__init__()
        self.frame = frame

    def hold(self, n_slots: int, capacity: int, like: torch.Tensor) -> None:
        """Make room for states like `like`, (heads, tokens, head size); what is there stays. Zeros, because what
        attention weighs with 0 has to be a number."""
        old = (self.keys, self.values) if self.is_initialized else ()
        shape = (n_slots, like.shape[0], capacity, like.shape[2])
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        for new, states in zip((self.keys, self.values), old, strict=False):
            new[:, :, : states.shape[2]] = states
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.arange(len(key_states), device=key_states.device)
        self.keys[rows, :, self.frame.positions] = key_states[:, :, 0]
        self.values[rows, :, self.frame.positions] = value_states[:, :, 0]
        return self.keys[:, :, : self.frame.width], self.values[:, :, : self.frame.width]

    def get_seq_length(self) -> int:
        return self.frame.width - 1


@dataclass(eq=False)
class SlotRow:
    """One completion being sampled."""

    draw: Draw
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False
    trace: RunningTrace | None = None
    pruned: Pruned | None = None
    states: list[torch.Tensor] | None = None
    """Where they are kept: those of the prompt's last token and of each fed token, [n_layers, hidden] each."""


class SlotBatch:
    """The running batch of one stream; its methods expect `torch.inference_mode`."""

    def __init__(
        self,
        model: PreTrainedModel,
        n_slots: int,
        params: SamplingParams,
        stop_ids: frozenset[int],
        pad_id: int,
        read: PrefillReader,
        watch: SlotWatch | None = None,
        kept: KeptStates | None = None,
    ) -> None:
        self.model, self.params, self.stop_ids, self.pad_id, self.read = model, params, stop_ids, pad_id, read
        self.watch, self.kept = watch, kept
        self.rows: list[SlotRow | None] = [None] * n_slots
        self.held: list[tuple[int, ...]] = [()] * n_slots
        self.n_drawn = torch.zeros(n_slots, dtype=torch.long, device=model.device)
        self.uniform = torch.zeros(n_slots, params.max_new_tokens, dtype=torch.float64, device=model.device)
        # Their width is known with the first prompt's logits.
        self.logits = self.first_logits = torch.empty(0, device=model.device)
        self.frame = _Frame(torch.zeros(n_slots, dtype=torch.long, device=model.device))
        self.cache = DynamicCache(config=model.config)
        self.cache.layers = [SlotLayer(self.frame) for _ in self.cache.layers]
        self.capacity = 0

    @property
    def free(self) -> list[int]:
        return [slot for slot, row in enumerate(self.rows) if row is None]

    @property
    def n_running(self) -> int:
        return sum(row is not None for row in self.rows)

    def enter(self, draw: Draw) -> None:
        """Begin a completion in a free slot: the one that holds its prompt already, if there is one."""
        ids, free = draw.prompt.token_ids, self.free
        slot = next((s for s in free if self.held[s] == ids), free[0])
        if self.held[slot] != ids:
            self._fill(ids, slot)
        self.logits[slot] = self.first_logits[slot]
        self.frame.positions[slot] = len(ids)
        self.n_drawn[slot] = 0
        if self.params.temperature:
            self.uniform[slot] = uniforms(self.params, [(draw.key, draw.sample)])[0].to(self.uniform.device)
        self.rows[slot] = SlotRow(
            draw,
            trace=self.watch.watcher.begin(draw) if self.watch else None,
            states=[self.kept.of_prompt(ids)] if self.kept else None,
        )

    def _fill(self, ids: tuple[int, ...], slot: int) -> None:
        """The prompt's keys, values and next-token logits: copied from a slot that holds them, else read."""
        self._reserve_columns(len(ids) + self.params.max_new_tokens)
        if ids in self.held:
            source = self.held.index(ids)
            for layer in self.cache.layers:
                layer.keys[slot, :, : len(ids)] = layer.keys[source, :, : len(ids)]
                layer.values[slot, :, : len(ids)] = layer.values[source, :, : len(ids)]
            self.first_logits[slot] = self.first_logits[source]
        else:
            self._store(self.read(ids), slot)
            if self.kept:
                self.kept.keep_prompt(ids, self.held)
        self.held[slot] = ids

    def _store(self, prompt: ReadPrompt, slot: int) -> None:
        n_slots, length = len(self.rows), prompt.layers[0][0].shape[1]
        if not self.logits.numel():
            self.logits = prompt.logits.new_zeros(n_slots, len(prompt.logits))
            self.first_logits = torch.zeros_like(self.logits)
        for layer, (keys, values) in zip(self.cache.layers, prompt.layers, strict=True):
            if not layer.is_initialized or layer.keys.shape[2] < self.capacity:
                layer.hold(n_slots, self.capacity, keys)
            layer.keys[slot, :, :length] = keys
            layer.values[slot, :, :length] = values
        self.first_logits[slot] = prompt.logits

    def _reserve_columns(self, needed: int) -> None:
        self.capacity = max(self.capacity, _portions(needed))

    def step(self) -> list[SlotRow]:
        """Sample a token in every running row; returns the rows that have ended, whose slots are free now."""
        last = self.params.max_new_tokens - 1
        uniform = self.uniform.gather(1, self.n_drawn.clamp(max=last)[:, None]).squeeze(1)
        tokens = pick(self.logits, uniform, self.params)
        if self.watch:
            self.watch.see([None if row is None else row.trace for row in self.rows], tokens, self.logits)
        ended = self._note(tokens)
        if self.watch:
            ended += self._stop(self.watch.watcher)
        if self.n_running:
            self._advance(tokens)
        return ended

    def _note(self, tokens: torch.Tensor) -> list[SlotRow]:
        logprobs = log_probs(self.logits, tokens, self.params).tolist() if self.params.logprobs else None
        ended = []
        for slot, (row, token) in enumerate(zip(self.rows, tokens.tolist(), strict=True)):
            if row is None:
                continue
            if not row.draw.is_wanted():
                self._leave(slot)
                continue
            if row.states is not None and self._is_over(row):
                ended.append(row)  # one step late: only now has its last token a state
                self._leave(slot)
                continue
            row.tokens.append(token)
            row.stopped = token in self.stop_ids
            if logprobs is not None:
                row.logprobs.append(logprobs[slot])
            if row.states is None and self._is_over(row):
                ended.append(row)
                self._leave(slot)
        return ended

    def _is_over(self, row: SlotRow) -> bool:
        return row.stopped or len(row.tokens) == self.params.max_new_tokens

    def _stop(self, watcher: Watcher) -> list[SlotRow]:
        """The rows that a rule stops now."""
        due = dict(watcher.due())
        stopped = []
        for slot, row in enumerate(self.rows):
            if row is not None and row.trace in due:
                row.pruned = due[row.trace]
                stopped.append(row)
                self._leave(slot)
        return stopped

    def _leave(self, slot: int) -> None:
        row, self.rows[slot] = self.rows[slot], None
        if self.watch and row is not None and row.trace is not None:
            self.watch.watcher.leave(row.trace)

    def _advance(self, tokens: torch.Tensor) -> None:
        """Feed the tokens; a free slot is fed too, behind what it holds, and stays where it is."""
        running = torch.tensor([row is not None for row in self.rows], device=tokens.device)
        positions = self.frame.positions
        longest = max(len(r.draw.prompt.token_ids) + len(r.tokens) for r in self.rows if r is not None)
        self.frame.width = _portions(longest)
        columns = torch.arange(self.frame.width, device=tokens.device)
        mask = torch.zeros(len(self.rows), self.frame.width, dtype=self.model.dtype, device=tokens.device)
        mask.masked_fill_(columns > positions[:, None], torch.finfo(self.model.dtype).min)
        with grouped(self.model), self.watch.listening() if self.watch else nullcontext():
            output = self.model(
                input_ids=tokens.where(running, self.pad_id)[:, None],
                attention_mask=mask[:, None, None],
                position_ids=positions[:, None],
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.logits = output.logits[:, -1]
        if self.kept:
            for row, states in zip(self.rows, self.kept.fed(), strict=True):
                if row is not None and row.states is not None:
                    row.states.append(states.clone())
        positions += running
        self.n_drawn += running

    def shrink(self) -> None:
        """Give up free slots when half are free: for a batch that nothing more will enter."""
        n_slots = max(MIN_SLOTS, _up(self.n_running, MIN_SLOTS))
        if n_slots > len(self.rows) // 2:
            return
        kept = sorted(range(len(self.rows)), key=lambda slot: self.rows[slot] is None)[:n_slots]
        index = torch.tensor(kept, device=self.logits.device)
        self.rows, self.held = [self.rows[s] for s in kept], [self.held[s] for s in kept]
        for name in ("n_drawn", "uniform", "logits", "first_logits"):
            setattr(self, name, getattr(self, name)[index])
        self.frame.positions = self.frame.positions[index]
        if self.watch:
            self.watch.keep(index)
        for layer in self.cache.layers:
            layer.keys, layer.values = layer.keys[index], layer.values[index]


def _portions(columns: int) -> int:
    return _up(columns, STRIDE)


def _up(number: int, step: int) -> int:
    return -(-number // step) * step
