"""What training will do and need, before weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools_sft.config import SftConfig
from tools_sft.data.encoding import rows_of
from tools_sft.reports.memory import expected_memory

if TYPE_CHECKING:
    pass


def dry_run(config: SftConfig) -> str:
    """The resolved configuration, the first example as the model will see it, counts and memory."""
    from tools_sft.train import prepare, with_defaults
    from tools_shared.training.preview import marked, n_steps, preview

    given = prepare(config)
    examples = given.encoded.examples
    n_rows = len(rows_of(examples, config.max_length, config.packing))
    n_batches = -(-n_rows // config.batch_size)
    chosen = with_defaults(config, given)
    steps = n_steps(n_batches, config.gradient_accumulation, chosen.epochs, config.max_steps)
    counts = (
        f"{len(examples)} examples of {given.encoded.n_tokens} tokens in {n_rows} rows; {n_batches} batches of "
        f"{config.batch_size} an epoch, {config.gradient_accumulation} to an optimiser step; {steps} steps\n"
        f"learning rate up to {chosen.learning_rate:g}{_by_rule(config)}\n"
        f"the first example has {len(examples[0].token_ids)} tokens, {sum(examples[0].loss_mask[1:])} of them learned"
    )
    prompt = marked(given.tokenizer, examples[0])
    return preview(config, prompt, counts, expected_memory(config, given.ref, given.encoded))


def _by_rule(config: SftConfig) -> str:
    """Which of rate and epochs are the defaults' rules and not the user's."""
    rules = []
    if config.learning_rate is None:
        kind = "full fine-tuning, a tenth of LoRA's" if config.full_finetune else "LoRA"
        rules.append(f"rate by the model's width ({kind}: 5e-4 (2000 / width)^0.8, at most 2e-3)")
    if config.epochs is None and config.max_steps < 0:
        rules.append("epochs for 64 steps, at most 16" if config.stage == "prep" else "one epoch")
    return f" ({'; '.join(rules)})" if rules else ""
