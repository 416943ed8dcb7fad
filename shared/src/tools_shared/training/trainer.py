"""Arguments that every trainer gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tools_shared import processes
from tools_shared.devices import pick_device, pick_dtype
from tools_shared.runs import Draft

if TYPE_CHECKING:
    from transformers import TrainingArguments


def trainer_options(config: Any, run: Draft) -> dict[str, Any]:
    """Arguments that every trainer gets: where it writes, how often it saves, on which device and in which format."""
    import torch

    device = pick_device(config.device)
    on_gpu = device == "cuda"
    dtype = pick_dtype(config.dtype, device)
    return {
        "output_dir": str(run.checkpoint_dir),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": config.warmup_ratio,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": config.gradient_checkpointing,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": 2,
        "logging_steps": config.logging_steps,
        "logging_first_step": True,
        # Else a loss that is not a number is logged as the mean of those before.
        "logging_nan_inf_filter": False,
        "seed": config.seed,
        "data_seed": config.seed,
        "use_cpu": not on_gpu,
        "bf16": on_gpu and dtype == torch.bfloat16,
        "fp16": on_gpu and dtype == torch.float16,
        "report_to": "none" if config.report_to == "tensorboard" else config.report_to,
        "run_name": run.final.name,
        "ddp_find_unused_parameters": False,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    }


def prepare_accelerate(args: TrainingArguments) -> None:
    """Set up accelerate as it does not by itself; call it between a trainer's arguments and the trainer, whose
    accelerator finds what is made here."""
    keep_environment()
    if processes.sharded():
        _prepare_sharding(args)


def keep_environment() -> None:
    """Have accelerate look away from the environment's variables where it would empty it.

    It wants a dataclass's defaults as they are without variables (`KwargsHandler.to_kwargs`), and takes all of them out
    of the process and puts them back, some hundred calls for each trainer. A library's thread that asks for one
    meanwhile reads freed memory, and the run ends with a segmentation fault.
    """
    from accelerate.utils import environment

    environment.clear_environment = _without_variables


@contextmanager
def _without_variables() -> Iterator[None]:
    """`os.environ` is empty; what the process's own environment is, is not touched."""
    held = os.environ
    vars(os)["environ"] = {}
    try:
        yield
    finally:
        vars(os)["environ"] = held


def _prepare_sharding(args: TrainingArguments) -> None:
    """On CPUs accelerate leaves what is said about FSDP out without a word, and would train whole copies. With
    --precision bf16 it would round averaged gradients, losses and log-probabilities to the format of the layers'
    arithmetic; they stay float32, as with whole copies."""
    import torch
    from accelerate import Accelerator, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = Accelerator(cpu=args.use_cpu, mixed_precision=args.mixed_precision).state
    if args.use_cpu:
        state.fsdp_plugin = FullyShardedDataParallelPlugin()
        state.distributed_type = PartialState().distributed_type = DistributedType.FSDP
    plugin = state.fsdp_plugin
    if plugin.mixed_precision_policy is not None:
        plugin.mixed_precision_policy = replace(
            plugin.mixed_precision_policy, reduce_dtype=torch.float32, output_dtype=None
        )
