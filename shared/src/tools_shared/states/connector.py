"""A vLLM connector that stores hidden states at the positions asked for, and at no others.

vLLM's `extract_hidden_states` keeps the states of every token in a cache of its own. The example connector that comes
with vLLM 0.31 writes all of them, through pinned memory and CUDA events, which a processor has not. This one takes
the asked rows out of the cache when a request ends, at once and on any device, and writes one small file a request.
Loaded by name (`kv_connector_module_path`), so nothing of vLLM is changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from vllm.distributed.kv_transfer.kv_connector.v1.example_hidden_states_connector import (
    ExampleHiddenStatesConnector,
    PendingSave,
    extract_from_kv_cache,
)
from vllm.v1.request import Request, RequestStatus

from tools_shared.states.vllm import OUTPUT, POSITIONS


class AskedRowsConnector(ExampleHiddenStatesConnector):
    """In `hidden_states_path` of each finished request: `states` [n_positions, n_layers, hidden]."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written: set[str] = set()

    def request_finished(self, request: Request, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """As the example's, but what travels to the worker are the positions in place of the tokens, and nothing is
        kept of a request that was given up."""
        if request.status is RequestStatus.FINISHED_ABORTED:
            self._request_filenames.pop(request.request_id, None)
            return False, None
        found = super().request_finished(request, block_ids)
        pending = self._pending_saves.get(request.request_id)
        if pending is not None:
            self._pending_saves[request.request_id] = replace(pending, token_ids=_asked(request))
        return found

    def wait_for_save(self) -> None:
        """Nothing to lock: a file appears whole, by a rename."""

    def _submit_async_write(self, pending: PendingSave) -> None:
        if not self._is_tp_rank_zero:
            return
        asked = pending.token_ids
        blocks = torch.tensor(pending.block_ids)
        slots = blocks[asked // self._block_size] * self._block_size + asked % self._block_size
        rows = extract_from_kv_cache(self._kv_cache, slots.to(self._kv_cache.device), len(asked))
        # Renamed so that it appears whole, but not flushed to the disk: nobody reads it after this process.
        beside = Path(f"{pending.filename}.tmp")
        beside.write_bytes(save({"states": rows.cpu().contiguous()}))
        beside.replace(pending.filename)
        self._written.add(pending.req_id)

    def get_finished(self, finished_req_ids: set[str]) -> tuple[set[str] | None, set[str] | None]:
        """Write what has ended, and report it: its blocks may be freed, because the rows are already copied."""
        if self.has_connector_metadata():
            for pending in self._get_connector_metadata().pending_saves:
                self._submit_async_write(pending)
        done, self._written = self._written, set()
        return done or None, None


def _asked(request: Request) -> torch.Tensor:
    if request.kv_transfer_params.get(OUTPUT):
        return torch.arange(request.num_prompt_tokens - 1, request.num_tokens - 1)
    return torch.tensor(request.kv_transfer_params[POSITIONS])
