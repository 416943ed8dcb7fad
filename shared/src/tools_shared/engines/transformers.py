"""Sampling with transformers: what runs wherever the model runs.

Each prompt is read once, however many completions are drawn from it; batches are made of prompts of like length
under a token budget; rows that have ended leave the batch, so the rest costs less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from tools_shared.engines.base import Completion, SamplingParams, check_fits
from tools_shared.engines.cache import reserved_cache
from tools_shared.engines.sampling import log_probs, pick, uniforms
from tools_shared.models.load import context_length
from tools_shared.prompts import Prompt, end_of_turn_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 65_536
"""Most tokens (rows times prompt and completion length) in one batch."""
MEMORY_SHARE = 0.3
"""Most of the free memory that a batch's keys and values may take."""
MIN_LEAVING = 0.125
"""Ended rows are taken out of the batch when they are at least this share of it; taking them out copies the rest."""


@dataclass(eq=False)
class _Row:
    """One completion being drawn."""

    prompt: int
    key: str
    sample: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    stopped: bool = False


class TransformersEngine:
    """Draws completions with a loaded causal language model.

    The same draw gives the same tokens in any batch, up to the rounding of the matrix products, which batch size
    and padding can change in the last digit.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.stop_ids = stop_ids(model, tokenizer)
        self.context_length = context_length(model.config)

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.generate`."""
        names = keys if keys is not None else [str(i) for i in range(len(prompts))]
        check_fits(prompts, names, self.context_length, params.max_new_tokens)
        results: list[list[Completion]] = [[] for _ in prompts]
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for batch in self._batches(prompts, names, params, first_sample):
                    self._decode(prompts, batch, params)
                    for row in batch:
                        results[row.prompt].append(self._completion(row, params))
                        if on_done is not None and len(results[row.prompt]) == params.n:
                            on_done(row.prompt, results[row.prompt])
        finally:
            self.model.train(was_training)
        return results

    def _batches(
        self, prompts: Sequence[Prompt], names: Sequence[str], params: SamplingParams, first_sample: int
    ) -> Iterator[list[_Row]]:
        """Rows of like prompt length, longest first (so that what does not fit fails at once), under the budget."""
        budget = self._token_budget()
        batch: list[_Row] = []
        width = 0
        for i in sorted(range(len(prompts)), key=lambda i: -len(prompts[i].token_ids)):
            for k in range(first_sample, first_sample + params.n):
                width = width or len(prompts[i].token_ids) + params.max_new_tokens
                if batch and (len(batch) + 1) * width > budget:
                    yield batch
                    batch, width = [], len(prompts[i].token_ids) + params.max_new_tokens
                batch.append(_Row(i, names[i], k))
        if batch:
            yield batch

    def _token_budget(self) -> int:
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        bytes_per_token = 2 * config.num_hidden_layers * heads * head_size * self.model.dtype.itemsize
        return max(1, min(MAX_BATCH_TOKENS, int(MEMORY_SHARE * _free_memory(self.model.device) / bytes_per_token)))

    def _decode(self, prompts: Sequence[Prompt], rows: list[_Row], params: SamplingParams) -> None:
        """Draw the rows of one batch to their ends, filling them in place."""
        device = self.model.device
        uniform = uniforms(params, [(r.key, r.sample) for r in rows]).to(device) if params.temperature else None
        cache, mask, logits = self._read_prompts(prompts, rows, params.max_new_tokens)
        active = rows
        for step in range(params.max_new_tokens):
            tokens = pick(logits, uniform[:, step] if uniform is not None else None, params)
            ended = self._note(active, tokens, logits, params)
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

    def _read_prompts(self, prompts: Sequence[Prompt], rows: list[_Row], new_tokens: int):
        """Run each different prompt once, left-padded; returns cache, mask and next-token logits, one row a draw."""
        wanted = list(dict.fromkeys(row.prompt for row in rows))
        width = max(len(prompts[i].token_ids) for i in wanted)
        ids = torch.full((len(wanted), width), self.tokenizer.pad_token_id, device=self.model.device)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(wanted):
            length = len(prompts[i].token_ids)
            ids[row, width - length :] = torch.tensor(prompts[i].token_ids, device=ids.device)
            mask[row, width - length :] = 1
        cache = reserved_cache(self.model.config, width + new_tokens)
        logits = self._forward(ids, mask, cache)
        place = {prompt: row for row, prompt in enumerate(wanted)}
        spread = torch.tensor([place[row.prompt] for row in rows], device=ids.device)
        cache.batch_select_indices(spread)
        return cache, mask[spread], logits[spread]

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache) -> torch.Tensor:
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

    def _note(
        self, active: list[_Row], tokens: torch.Tensor, logits: torch.Tensor, params: SamplingParams
    ) -> list[bool]:
        """Add a token to each row that has not ended; returns which have ended now."""
        logprobs = log_probs(logits, tokens, params).tolist() if params.logprobs else None
        for i, (row, token) in enumerate(zip(active, tokens.tolist(), strict=True)):
            if row.stopped:
                continue
            row.tokens.append(token)
            row.stopped = token in self.stop_ids
            if logprobs is not None:
                row.logprobs.append(logprobs[i])
        return [row.stopped for row in active]

    def _completion(self, row: _Row, params: SamplingParams) -> Completion:
        return Completion(
            text=self.tokenizer.decode(row.tokens, skip_special_tokens=True),
            token_ids=tuple(row.tokens),
            finish_reason="stop" if row.stopped else "length",
            logprobs=tuple(row.logprobs) if params.logprobs else None,
        )


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a completion: end of turn, end of text, and what the model's generation config names."""
    ids = {end_of_turn_id(tokenizer), tokenizer.eos_token_id}
    configured = model.generation_config.eos_token_id
    ids |= set(configured) if isinstance(configured, list) else {configured}
    return frozenset(i for i in ids if i is not None)


def _free_memory(device: torch.device) -> int:
    """Bytes that can be taken on the device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available
