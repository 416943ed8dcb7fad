"""From logits to tokens, with random numbers that belong to the sample and not to the batch."""

from __future__ import annotations

import torch

from tools_shared.engines.types import SamplingParams, draw_key

_BLOCK = 64
"""Size of the blocks whose maxima are compared first in the search for the largest values of a row."""


def uniforms(params: SamplingParams, keys: list[tuple[str, int]]) -> torch.Tensor:
    """Uniform numbers in [0, 1), shape (samples, max_new_tokens), float64; row i is the stream of (key, sample) i."""
    import numpy as np

    rows = [
        np.random.Generator(np.random.Philox(key=draw_key(params.seed, key, sample))).random(params.max_new_tokens)
        for key, sample in keys
    ]
    return torch.from_numpy(np.stack(rows))


def pick(logits_B_V: torch.Tensor, uniform_B: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """The next token of each row, shape (rows,): the greedy one, or by inverting the cumulative distribution.

    One uniform number decides one token, so a row's choice depends on nothing else in its batch.
    """
    if params.temperature == 0:
        return logits_B_V.argmax(dim=-1)
    probs = torch.softmax(logits_B_V.float() / params.temperature, dim=-1)
    if params.top_k or params.top_p < 1 or params.min_p:
        probs = _filter(probs, params)
    cumulative = probs.double().cumsum(dim=-1)
    total = cumulative[:, -1]
    target = torch.minimum(uniform_B * total, torch.nextafter(total, torch.zeros_like(total)))
    # Where the logits are not numbers the search ends behind the last token; the log-probability then tells.
    return torch.searchsorted(cumulative, target[:, None], right=True).squeeze(1).clamp(max=probs.shape[-1] - 1)


def _filter(probs_B_V: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Zero what top-k, top-p and min-p leave out; at least the likeliest token stays."""
    if params.min_p:
        threshold = params.min_p * probs_B_V.max(dim=-1, keepdim=True).values
        probs_B_V = probs_B_V.masked_fill(probs_B_V < threshold, 0.0)
    if not params.top_k and params.top_p == 1:
        return probs_B_V
    ordered, index = probs_B_V.sort(dim=-1, descending=True, stable=True)
    if params.top_k:
        ordered[:, params.top_k :] = 0.0
    before = ordered.cumsum(dim=-1) - ordered
    ordered = ordered.masked_fill(before >= params.top_p * ordered.sum(dim=-1, keepdim=True), 0.0)
    return torch.zeros_like(probs_B_V).scatter(-1, index, ordered)


def confidences(logits_B_V: torch.Tensor, top: int) -> torch.Tensor:
    """DeepConf's token confidence of each row, shape (rows,), float32: minus the mean log-probability, at temperature
    1, of its `top` likeliest tokens (arXiv 2508.15260, section 2)."""
    found = torch.log_softmax(logits_B_V.float(), dim=-1)
    return -_largest(found, min(top, found.shape[-1])).mean(dim=-1)


def _largest(values_B_V: torch.Tensor, n: int) -> torch.Tensor:
    """The `n` largest of each row in any order, shape (rows, n). They are all in the `n` blocks with the largest
    maxima, so of a large vocabulary only those are searched."""
    rows, width = values_B_V.shape
    n_blocks = width // _BLOCK
    if n_blocks > 2 * n:
        blocks = values_B_V[:, : n_blocks * _BLOCK].view(rows, n_blocks, _BLOCK)
        best = blocks.amax(dim=-1).topk(n, dim=-1, sorted=False).indices
        few = blocks.gather(1, best[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
        values_B_V = torch.cat([few, values_B_V[:, n_blocks * _BLOCK :]], dim=-1)
    if values_B_V.is_cuda or values_B_V.shape[-1] == n:
        return values_B_V.topk(n, dim=-1).values
    import numpy as np

    # On a CPU six times as fast as torch's topk.
    return torch.from_numpy(np.partition(values_B_V.numpy(), -n, axis=-1)[:, -n:])


def log_probs(logits_B_V: torch.Tensor, tokens_B: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Log-probability of each row's token at the sampling temperature, shape (rows,), float32."""
    scaled = logits_B_V.float() / (params.temperature or 1.0)
    return torch.log_softmax(scaled, dim=-1).gather(-1, tokens_B[:, None]).squeeze(1)
