"""Expected memory, and what to lower where there is less."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tools_sft.config import CPU_TILE, SftConfig
from tools_sft.data.encoding import Encoded, rows_of
from tools_shared.devices import pick_device
from tools_shared.models import ModelRef, resolve
from tools_shared.models.load import load_config
from tools_shared.prompts import Example

if TYPE_CHECKING:
    from tools_shared.training.memory import Memory

BATCHES = 64


def expected_memory(config: SftConfig, ref: ModelRef, encoded: Encoded) -> Memory | None:
    if config.backend != "local":
        return None
    from tools_shared.training.memory import expected

    return expected(lambda: _reckoned(config, ref, encoded))


def _reckoned(config: SftConfig, ref: ModelRef, encoded: Encoded) -> Memory:
    from tools_shared.training.memory import estimate

    n_tokens = _most_tokens(config, ref, rows_of(encoded.examples, config.max_length, config.packing))
    # Distillation compares whole distributions; see `SftTrainer` for the tiles.
    tile = None if config.teacher else CPU_TILE if pick_device(config.device) == "cpu" else 4096
    checkpointing = config.gradient_checkpointing
    memory = estimate(ref, config, 1, n_tokens, checkpointing, head_tokens=tile, products=True).spread(config)
    return with_teacher(memory, config, n_tokens) if config.teacher else memory


def _most_tokens(config: SftConfig, ref: ModelRef, rows: Sequence[Sequence[Example]]) -> int:
    """Tokens of the largest of BATCHES random batches, as the layers see them in training."""
    from tools_shared.training.packing import alike, n_tokens, shares

    draw = random.Random(config.seed)
    packs = shares(load_config(ref)) and not config.lora_dropout and not config.teacher
    most = 0
    for _ in range(BATCHES):
        batch = draw.sample(rows, min(config.batch_size, len(rows)))
        if packs:
            size = n_tokens(alike([(0, e.token_ids, e.loss_mask) for row in batch for e in row]))
        else:
            size = len(batch) * max(sum(len(example.token_ids) for example in row) for row in batch)
        most = max(most, size)
    return most


def with_teacher(memory: Memory, config: SftConfig, n_tokens: int) -> Memory:
    """Besides the teacher's weights five float32 numbers a token and word of the vocabulary: the teacher's logits, and
    of both models the softened ones and their logarithms."""
    from tools_shared.training.memory import estimate

    teacher = resolve(config.teacher)
    weights = estimate(teacher, replace(config, full_finetune=False), 0, 0, False).weights
    logits = 20.0 * n_tokens * load_config(teacher).get_text_config().vocab_size
    return replace(memory, weights=memory.weights + weights, activations=memory.activations + logits)


def less_memory(batch_size: int, gradient_accumulation: int) -> str:
    """Which flags to lower when memory runs out; the run goes on with them, for the result is the same."""
    return (
        f"lower --batch-size (now {batch_size}) and raise --gradient-accumulation (now "
        f"{gradient_accumulation}) by as much, or pass --gradient-checkpointing"
    )
