"""What training will do and need, before weights are loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tools_sft.config import SftConfig
from tools_sft.data.encoding import Encoded, rows_of
from tools_shared.models import ModelRef, resolve
from tools_shared.models.load import load_config

if TYPE_CHECKING:
    from tools_shared.training.memory import Memory


def dry_run(config: SftConfig) -> str:
    """The resolved configuration, the first example as the model will see it, counts and memory."""
    from tools_sft.train import prepare
    from tools_shared.training.preview import marked, n_steps, preview

    given = prepare(config)
    examples = given.encoded.examples
    n_rows = len(rows_of(examples, config))
    n_batches = -(-n_rows // config.batch_size)
    steps = n_steps(n_batches, config.gradient_accumulation, config.epochs, config.max_steps)
    counts = (
        f"{len(examples)} examples of {given.encoded.n_tokens} tokens in {n_rows} rows; {n_batches} batches of "
        f"{config.batch_size} an epoch, {config.gradient_accumulation} to an optimiser step; {steps} steps\n"
        f"the first example has {len(examples[0].token_ids)} tokens, {sum(examples[0].loss_mask[1:])} of them learned"
    )
    prompt = marked(given.tokenizer, examples[0])
    return preview(config, prompt, counts, expected_memory(config, given.ref, given.encoded))


def expected_memory(config: SftConfig, ref: ModelRef, encoded: Encoded) -> Memory | None:
    from tools_shared.training.memory import expected

    return expected(lambda: _reckoned(config, ref, encoded))


def _reckoned(config: SftConfig, ref: ModelRef, encoded: Encoded) -> Memory:
    from tools_shared.training.memory import estimate

    longest = max(sum(len(example.token_ids) for example in row) for row in rows_of(encoded.examples, config))
    memory = estimate(ref, config, config.batch_size, longest, config.gradient_checkpointing).spread(config)
    return with_teacher(memory, config, config.batch_size * longest) if config.teacher else memory


def with_teacher(memory: Memory, config: SftConfig, n_tokens: int) -> Memory:
    """Besides the teacher's weights five float32 numbers a token and word of the vocabulary: the teacher's logits, and
    of both models the softened ones and their logarithms."""
    from tools_shared.training.memory import estimate

    teacher = resolve(config.teacher)
    weights = estimate(teacher, replace(config, full_finetune=False), 0, 0, False).weights
    logits = 20.0 * n_tokens * load_config(teacher).get_text_config().vocab_size
    return replace(memory, weights=memory.weights + weights, activations=memory.activations + logits)


def less_memory(config: SftConfig) -> str:
    """Which flags to lower when memory runs out; the run goes on with them, for the result is the same."""
    return (
        f"lower --batch-size (now {config.batch_size}) and raise --gradient-accumulation (now "
        f"{config.gradient_accumulation}) by as much, or pass --gradient-checkpointing"
    )
