"""A key-value cache that is written in place.

The library's dynamic cache copies all keys and values of every layer at every step; with room reserved for the
whole completion nothing is copied until rows leave the batch.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer


def reserved_cache(config: PreTrainedConfig, capacity: int) -> DynamicCache:
    """An empty cache with room for `capacity` tokens in its full-attention layers; other kinds stay the library's."""
    cache = DynamicCache(config=config)
    cache.layers = [ReservedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class ReservedLayer(DynamicLayer):
    """Keys and values, each (rows, heads, capacity, head size), of which the first `length` tokens are filled."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_empty((*key_states.shape[:2], self.capacity, key_states.shape[-1]))
        self.values = value_states.new_empty((*value_states.shape[:2], self.capacity, value_states.shape[-1]))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self.keys = self._selected(self.keys, indices)
        self.values = self._selected(self.values, indices)

    def _selected(self, states: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """The chosen rows; what is not filled yet is reserved but not copied."""
        chosen = states.new_empty((len(indices), *states.shape[1:]))
        chosen[:, :, : self.length] = states[indices, :, : self.length]
        return chosen
