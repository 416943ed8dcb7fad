"""What training will do and need, before weights are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools_grpo.config import GrpoConfig
from tools_grpo.reports.memory import expected_memory, vllm_memory

if TYPE_CHECKING:
    pass


def dry_run(config: GrpoConfig) -> str:
    """The resolved configuration, the first prompt as the model will see it, counts and memory."""
    from tools_grpo.train import prepare
    from tools_shared.training.preview import BEGIN, END, n_steps, preview

    given = prepare(config)
    first, n = given.prompts[0], len(given.prompts)
    # A step takes whole sets of prompts; what is left over at an epoch's end is not trained on.
    updates = config.updates_per_rollout
    steps = n_steps(n // config.prompts_per_step * updates, 1, config.epochs, config.max_steps)
    rollouts = -(-steps // updates) * config.n_completions
    batch = "step" if updates == 1 else f"batch for {updates} steps"
    counts = (
        f"{n} problems; {config.prompts_per_step} prompts x {config.num_generations} completions = "
        f"{config.n_completions} rollouts a {batch}, in {config.n_completions // config.batch_size} forward passes of "
        f"{config.batch_size}; {steps} steps, {rollouts} rollouts\n"
        f"the first prompt has {len(first.token_ids)} tokens, none of them learned"
    )
    drawn = f"{BEGIN}up to {config.max_completion_length} tokens, drawn at temperature {config.temperature:g}{END}"
    text = preview(config, first.text + drawn, counts, expected_memory(config, given.ref, given.prompts))
    return "\n".join([text, *vllm_memory(config)])
