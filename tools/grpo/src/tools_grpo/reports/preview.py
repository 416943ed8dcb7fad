"""What training will do and need, before weights are loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_grpo.config import GrpoConfig
from tools_shared.models import ModelRef
from tools_shared.prompts import Prompt

if TYPE_CHECKING:
    from tools_shared.training.memory import Memory


def dry_run(config: GrpoConfig) -> str:
    """The resolved configuration, the first prompt as the model will see it, counts and memory."""
    from tools_grpo.train import prepare
    from tools_shared.training.preview import BEGIN, END, n_steps, preview

    given = prepare(config)
    first, n = given.prompts[0], len(given.prompts)
    # A step takes whole sets of prompts; what is left over at an epoch's end is not trained on.
    steps = n_steps(n // config.prompts_per_step, 1, config.epochs, config.max_steps)
    counts = (
        f"{n} problems; {config.prompts_per_step} prompts x {config.num_generations} completions = "
        f"{config.n_completions} rollouts a step, in {config.n_completions // config.batch_size} forward passes of "
        f"{config.batch_size}; {steps} steps, {steps * config.n_completions} rollouts\n"
        f"the first prompt has {len(first.token_ids)} tokens, none of them learned"
    )
    drawn = f"{BEGIN}up to {config.max_completion_length} tokens, drawn at temperature {config.temperature:g}{END}"
    text = preview(config, first.text + drawn, counts, expected_memory(config, given.ref, given.prompts))
    return "\n".join([text, *vllm_memory(config)])


def expected_memory(config: GrpoConfig, ref: ModelRef, prompts: Sequence[Prompt]) -> Memory | None:
    """Reckoned with completions of full length; without vLLM's, see `vllm_memory`."""
    from tools_shared.training.memory import estimate, expected

    longest = max(len(prompt.token_ids) for prompt in prompts) + config.max_completion_length
    sampled = config.n_completions * longest if config.engine == "transformers" else 0
    checkpointing = config.gradient_checkpointing
    return expected(lambda: estimate(ref, config, config.batch_size, longest, checkpointing, sampled).spread(config))


def vllm_memory(config: GrpoConfig) -> list[str]:
    """A line about what vLLM takes besides, where it samples on this machine."""
    if config.engine != "vllm":
        return []
    import torch

    from tools_shared.devices import pick_device
    from tools_shared.training.memory import gib

    if pick_device(config.device) == "cpu":
        space = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")
        return [
            f"vLLM besides: its own copy of the weights, and {space} GiB of keys and values (VLLM_CPU_KVCACHE_SPACE)"
        ]
    share = config.gpu_memory_utilization * torch.cuda.get_device_properties(0).total_memory
    return [f"vLLM besides: {gib(share)} while it draws; while a step trains its weights wait in the machine's memory"]


def less_memory(config: GrpoConfig) -> str:
    """Which flags to lower when memory runs out and the run is to go on with the same result."""
    return (
        f"lower --batch-size (now {config.batch_size}) to another divisor of {config.n_completions}, "
        "or pass --gradient-checkpointing"
    )
