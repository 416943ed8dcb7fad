"""Expected memory, and what to lower where there is less."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_grpo.config import GrpoConfig
from tools_shared.models import ModelRef
from tools_shared.prompts import Prompt

if TYPE_CHECKING:
    from tools_shared.training.memory import Memory


def expected_memory(config: GrpoConfig, ref: ModelRef, prompts: Sequence[Prompt]) -> Memory | None:
    """Reckoned with completions of full length; without vLLM's, see `vllm_memory`."""
    from tools_grpo.rollouts.policy import rollout_dtype
    from tools_shared.models.load import load_config
    from tools_shared.training.memory import estimate, expected
    from tools_shared.training.packing import shares

    if config.backend != "local":
        return None
    longest = max(len(prompt.token_ids) for prompt in prompts) + config.max_completion_length
    sampled = config.n_completions * longest if config.engine == "transformers" else 0
    checkpointing = config.gradient_checkpointing

    def reckon() -> Memory:
        copied = rollout_dtype(ref, config) if config.engine == "transformers" else None
        scored = config.batch_size * config.max_completion_length
        # What groups share is read once where the architecture allows it (`tools_shared.training.packing`).
        n_prompts = -(-config.batch_size // config.num_generations) if shares(load_config(ref)) else config.batch_size
        n_tokens = n_prompts * (longest - config.max_completion_length) + scored
        memory = estimate(ref, config, 1, n_tokens, checkpointing, sampled, sampled_in=copied, n_scored=scored)
        return memory.spread(config)

    return expected(reckon)


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


def less_memory(batch_size: int | None, n_completions: int) -> str:
    """Which flags to lower when memory runs out and the run is to go on with the same result."""
    return (
        f"lower --batch-size (now {batch_size}) to another divisor of {n_completions}, or pass --gradient-checkpointing"
    )
