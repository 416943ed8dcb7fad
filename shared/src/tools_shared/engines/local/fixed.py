"""Fixed batches, for models whose layers have no slots (sliding windows, recurrent states).

Each prompt is read once, however many completions are sampled from it; batches are made of prompts of like length
under a token budget; rows that have ended leave the batch, so the rest costs less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedModel

from tools_shared.engines.local.cache import reserved_cache
from tools_shared.engines.local.continuous import SlotRow
from tools_shared.engines.local.sampling import log_probs, pick, uniforms
from tools_shared.engines.types import SamplingParams

MIN_LEAVING = 0.125
"""Ended rows are taken out of the batch when they are at least this share of it; taking them out copies the rest."""


def batches(rows: Sequence[SlotRow], new_tokens: int, budget: int) -> Iterator[list[SlotRow]]:
    """Rows of like prompt length, longest first (so that what does not fit fails at once), under the budget of
    tokens (rows times prompt and completion length)."""
    batch: list[SlotRow] = []
    width = 0
    for row in sorted(rows, key=lambda row: -len(row.draw.prompt.token_ids)):
        width = width or len(row.draw.prompt.token_ids) + new_tokens
        if batch and (len(batch) + 1) * width > budget:
            yield batch
            batch, width = [], len(row.draw.prompt.token_ids) + new_tokens
        batch.append(row)
    if batch:
        yield batch


@dataclass(frozen=True)
class StaticBatches:
    """Samples whole batches; `draw` expects `torch.inference_mode`."""

    model: PreTrainedModel
    params: SamplingParams
    stop_ids: frozenset[int]
    pad_id: int

    def draw(self, rows: list[SlotRow]) -> None:
        """Sample the rows of one batch to their ends, filling them in place."""
        params, device = self.params, self.model.device
        keys = [(row.draw.key, row.draw.sample) for row in rows]
        uniform = uniforms(params, keys).to(device) if params.temperature else None
        cache, mask, logits = self._read_prompts(rows)
        active = rows
        for step in range(params.max_new_tokens):
            tokens = pick(logits, uniform[:, step] if uniform is not None else None, params)
            ended = self._note(active, tokens, logits)
            if all(ended) or step + 1 == params.max_new_tokens:
                return
            if sum(ended) >= MIN_LEAVING * len(active):
                keep = torch.tensor([i for i, end in enumerate(ended) if not end], device=device)
                active = [active[i] for i in keep.tolist()]
                cache.batch_select_indices(keep)
                mask, tokens = mask[keep], tokens[keep]
                uniform = uniform[keep] if uniform is not None else None
            mask = torch.cat([mask, mask.new_ones((len(active), 1))], dim=1)
            logits = self._forward(tokens[:, None], mask, cache)

    def _read_prompts(self, rows: list[SlotRow]) -> tuple[Cache, torch.Tensor, torch.Tensor]:
        """Run each different prompt once, left-padded; returns cache, mask and next-token logits, one row a sample."""
        wanted = list(dict.fromkeys(row.draw.prompt.token_ids for row in rows))
        width = max(map(len, wanted))
        ids = torch.full((len(wanted), width), self.pad_id, device=self.model.device)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(wanted):
            ids[row, width - len(prompt) :] = torch.tensor(prompt, device=ids.device)
            mask[row, width - len(prompt) :] = 1
        cache = reserved_cache(self.model.config, width + self.params.max_new_tokens)
        logits = self._forward(ids, mask, cache)
        place = {prompt: row for row, prompt in enumerate(wanted)}
        spread = torch.tensor([place[row.draw.prompt.token_ids] for row in rows], device=ids.device)
        cache.batch_select_indices(spread)
        return cache, mask[spread], logits[spread]

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Next-token logits, shape (rows, vocabulary)."""
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1]

    def _note(self, active: list[SlotRow], tokens: torch.Tensor, logits: torch.Tensor) -> list[bool]:
        """Add a token to each row that has not ended; returns which have ended now."""
        logprobs = log_probs(logits, tokens, self.params).tolist() if self.params.logprobs else None
        for i, (row, token) in enumerate(zip(active, tokens.tolist(), strict=True)):
            if row.stopped:
                continue
            row.tokens.append(token)
            row.stopped = token in self.stop_ids
            if logprobs is not None:
                row.logprobs.append(logprobs[i])
        return [row.stopped for row in active]
