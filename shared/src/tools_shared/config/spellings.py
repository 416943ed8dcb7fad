"""Other spellings of options: what TRL, Hugging Face and other trainers call them works here too, hidden.

A name works with dashes or underscores, as a flag, as a YAML key and in an environment variable. `option(aliases=)`
gives the former names of one option; `FOREIGN` gives what other programs call an option, in every command that has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

FOREIGN: Mapping[str, tuple[str, ...]] = {
    "base_model": ("model_name_or_path", "model", "model_path", "pretrained_model_name_or_path", "model_id"),
    "model": (
        "base_model",
        "model_name_or_path",
        "model_path",
        "pretrained_model_name_or_path",
        "model_id",
        "model_name",
    ),
    "data": (
        "train_file",
        "train_path",
        "train_data",
        "train_dataset",
        "dataset",
        "dataset_name",
        "dataset_path",
        "input",
        "input_file",
        "input_path",
    ),
    "eval_data": ("eval_file", "eval_path", "eval_dataset", "test_data", "test_path", "test_file"),
    "test_data": ("test_path", "test_file", "test_dataset", "eval_data", "eval_path", "eval_file"),
    "output_dir": ("output_path", "out_dir", "save_dir"),
    "output_file": ("output", "output_path"),
    "output_path": ("output_file", "output"),
    "dtype": ("precision", "torch_dtype", "mixed_precision"),
    "epochs": ("num_train_epochs", "num_epochs"),
    "learning_rate": ("lr",),
    "lr_scheduler": ("lr_scheduler_type",),
    "batch_size": ("per_device_train_batch_size", "per_device_batch_size", "train_batch_size", "micro_batch_size"),
    "gradient_accumulation": ("gradient_accumulation_steps", "grad_accum_steps"),
    "max_length": ("max_seq_length", "max_seq_len", "cutoff_len"),
    "max_grad_norm": ("grad_clip", "clip_grad_norm"),
    "train_samples": ("max_train_samples",),
    "eval_samples": ("max_eval_samples",),
    "eval_steps": ("evaluation_steps", "eval_every"),
    "validation_split": ("val_size", "val_set_size", "test_size", "eval_split"),
    "load_best": ("load_best_model_at_end",),
    "early_stopping_patience": ("early_stopping", "patience"),
    "best_by": ("metric_for_best_model",),
    "lora_r": ("lora_rank",),
    "lora_target": ("lora_target_modules", "target_modules"),
    "load_in_4bit": ("use_4bit", "qlora"),
    "attention": ("attn_implementation",),
    "liger": ("use_liger_kernel", "use_liger"),
    "loss": ("loss_type",),
    "importance_sampling": ("importance_sampling_level",),
    "reward": ("rewards", "reward_funcs", "reward_funs"),
    "beta": ("kl_coef",),
    "num_generations": ("group_size", "num_rollouts"),
    "updates_per_rollout": ("num_iterations", "num_ppo_epochs", "ppo_epochs"),
    "mask_truncated": ("mask_truncated_completions",),
    "max_completion_length": ("max_new_tokens", "max_tokens", "max_response_length"),
    "max_new_tokens": ("max_tokens", "max_completion_length", "max_gen_toks"),
    "eval_max_new_tokens": ("max_new_tokens", "max_tokens"),
    "eval_temperature": ("temperature",),
    "gpu_memory_utilization": ("vllm_gpu_memory_utilization",),
    "max_model_len": ("vllm_max_model_length", "max_model_length"),
    "tensor_parallel": ("tensor_parallel_size", "vllm_tensor_parallel_size", "tp"),
    "data_parallel": ("data_parallel_size", "dp"),
    "vllm_importance_sampling": ("vllm_importance_sampling_mode",),
    "endpoint": ("base_url", "api_base", "vllm_server_base_url"),
    "teacher": ("teacher_model_name_or_path", "teacher_model"),
    "divergence": ("kd_loss",),
    "processes": ("nproc_per_node", "num_processes"),
    "num_samples": ("limit", "max_samples"),
    "limit": ("num_samples", "max_samples", "samples_per_task"),
    "suite": ("tasks",),
    "concurrency": ("batch_size", "num_concurrent"),
    "stop": ("stop_sequences",),
}

VALUES: Mapping[str, str] = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "eval_loss": "loss",
    "eval_accuracy": "accuracy",
}
"""Other spellings of an option's choices."""

INSTEAD: Mapping[str, tuple[str, ...]] = {
    "use_peft": ("LoRA is the default; --full-finetune trains every weight",),
    "no_use_peft": ("--full-finetune trains every weight",),
    "bf16": ("write --dtype bf16",),
    "fp16": ("write --dtype fp16",),
    "fp32": ("write --dtype fp32",),
    "use_vllm": ("write --engine vllm",),
    "vllm_mode": ("write --engine vllm (in this process) or --engine http --endpoint URL (a server)",),
    "vllm_server_host": ("write --engine http --endpoint http://HOST:PORT/v1",),
    "vllm_server_port": ("write --engine http --endpoint http://HOST:PORT/v1",),
    "gradient_accumulation": (
        "--prompts-per-step x --num-generations is the size of a step; --batch-size is one pass",
    ),
    "gradient_accumulation_steps": (
        "--prompts-per-step x --num-generations is the size of a step; --batch-size is one pass",
    ),
    "generation_batch_size": ("--prompts-per-step x --num-generations is the size of a step",),
    "steps_per_generation": ("--prompts-per-step is the number of prompts in a step",),
    "warmup_steps": ("--warmup-ratio is the share of the steps",),
    "per_device_eval_batch_size": ("--batch-size is that of training; evaluations choose their own",),
    "do_train": ("write --no-eval to train without an evaluation",),
    "do_eval": ("--eval is the default; --no-eval leaves the evaluation out",),
    "eval_strategy": ("write --eval-steps N, or leave it out to evaluate after training alone",),
    "evaluation_strategy": ("write --eval-steps N, or leave it out to evaluate after training alone",),
    "greater_is_better": ("--best-by names the figure, whose better end is known",),
    "early_stopping_threshold": ("--early-stopping-patience N counts every better evaluation as better",),
    "eval_on_start": ("write --eval-before", "--eval evaluates before training too"),
    "save_strategy": ("--save-steps is the number of steps between checkpoints",),
    "resume_from_checkpoint": ("--resume auto is the default: an interrupted run continues",),
    "overwrite_output_dir": ("write --overwrite",),
    "completion_only_loss": ("write --loss-on completion",),
    "assistant_only_loss": ("write --loss-on completion",),
    "max_prompt_length": ("prompts are never cut; --max-length or --max-completion-length limits the whole",),
    "dataset_text_field": ("--question-key and --answer-key name the fields",),
    "dataset_config": ("write --data 'hf://owner/name?config=NAME&split=train'",),
    "dataset_train_split": ("write --data 'hf://owner/name?split=train'",),
    "dataset_test_split": ("write --eval-data 'hf://owner/name?split=test'",),
    "do_sample": ("write --temperature 0 for greedy decoding", "write --eval-temperature 0 for greedy decoding"),
    "num_return_sequences": ("write --samples N", "write --max-attempts N", "write --num-generations N"),
    "n_samples": ("write --samples N", "write --max-attempts N", "write --num-generations N"),
    "tasks": ("write --suite NAME, or --data PATH for your own",),
    "optim": ("the optimiser is AdamW; see --learning-rate and --weight-decay",),
    "push_to_hub": ("the run stays in --output-dir; upload it with `hf upload`",),
    "deepspeed": ("write --sharding fsdp2",),
    "fsdp": ("write --sharding fsdp2",),
}
"""Names of other programs that have no equal here, and what to write: the first that fits the command's options."""


def aliases_of(fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Other spellings of a command's options, each with the option's name; `fields` are the options with the former
    names of each. What is an option's own name here is no alias, and former names win over foreign ones."""
    found: dict[str, str] = {}
    for table in (fields, {name: aliases for name, aliases in FOREIGN.items() if name in fields}):
        for name, aliases in table.items():
            for alias in aliases:
                if alias not in fields:
                    found.setdefault(alias, name)
    return found


def spellings(params: Sequence[Any]) -> dict[str, str]:
    """Every other spelling of a command's flags and choices, without the leading dashes, with the one that it has."""
    flags = {flag.lstrip("-"): param for param in params for flag in (*param.opts, *param.secondary_opts)}
    found = {flag.replace("-", "_"): flag for flag in flags if "-" in flag}
    for param in params:
        for alias in getattr(param, "aliases", ()):
            for spelled in {alias, alias.replace("_", "-")} - set(flags):
                found[spelled] = param.opts[0].lstrip("-")
                if param.secondary_opts:
                    for no in ("no-", "no_"):
                        found[no + spelled] = param.secondary_opts[0].lstrip("-")
    return {**VALUES, **found}


def other_name(flag: str, flags: Collection[str]) -> str | None:
    """What to write here for an option of other programs; None where nothing is known. `flags` are the command's."""
    name = flag.lstrip("-").replace("-", "_")
    for said in INSTEAD.get(name, ()):
        named = re.findall(r"--[a-z0-9-]+", said)
        if all(one in flags or one.replace("--no-", "--") in flags for one in named):
            return said[0].upper() + said[1:]
    return None
