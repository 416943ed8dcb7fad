"""Options of tools-grpo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tools_grpo.environments.options import EnvironmentOptions
from tools_shared.addresses import ADDRESS, VARIABLE
from tools_shared.config import Config, option, source_option
from tools_shared.engines import check_address
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.export.options import ExportConfig
from tools_shared.runs import RunConfig
from tools_shared.training.options import TrainingOptions
from tools_shared.training.selection.options import SelectionOptions
from tools_shared.training.tinker.options import BackendOptions
from tools_shared.training.trainable import LoraOptions

REMOTE_LOSSES = ("dapo", "bnpo", "grpo", "dr_grpo")
"""The losses that a Tinker service's clipped policy loss can be made into by the weights of the tokens."""


@dataclass(frozen=True)
class DataOptions(Config):
    """Which problems are trained on."""

    PANEL: ClassVar[str] = "Data"

    data: tuple[str, ...] = source_option(
        "demo://problems?split=train&size=2048", "Training problems: any source.", aliases=("train_file", "train_path")
    )
    train_samples: int | None = option(
        None, "Use the first N training problems. Default: all.", env="TRAIN_SAMPLES", minimum=1
    )
    min_pass_rate: float = option(0.0, "Skip problems whose pass rate so far is below this.", minimum=0, maximum=1)
    max_pass_rate: float = option(1.0, "Skip problems whose pass rate so far is above this.", minimum=0, maximum=1)


@dataclass(frozen=True)
class RolloutOptions(Config):
    """How rollouts are sampled and rewarded."""

    PANEL: ClassVar[str] = "Rollouts"

    reward: tuple[str, ...] = option(
        ("verified",), "NAME[:WEIGHT] or file.py:function[:WEIGHT]. Repeatable: the weighted sum counts."
    )
    reward_check: Literal["strict", "warn", "off"] | None = option(
        None,
        "Refuse rewards that pay wrong answers (strict) or say so (warn). Default: strict if answers alone decide.",
        identity=False,
    )
    num_generations: int = option(8, "Group size: completions per prompt.", env="NUM_GENERATIONS", minimum=2)
    prompts_per_step: int = option(8, "Prompts per optimiser step.", minimum=1)
    temperature: float = option(1.0, "Sampling temperature of the rollouts.", minimum=0.01)
    top_p: float = option(1.0, "Nucleus sampling probability of the rollouts (1: off).", minimum=0.01, maximum=1)
    top_k: int = option(0, "Sample rollouts from the k most likely tokens (0: off).", minimum=0)
    max_completion_length: int = option(512, "Longest rollout, in tokens.", minimum=1)
    dynamic_sampling: int = option(
        0, "Resample zero-variance groups with new problems, up to N times per step.", minimum=0
    )
    vllm_importance_sampling: Literal["sequence_mask", "sequence_truncate", "token_mask", "token_truncate", "none"] = (
        option(
            "sequence_mask",
            "How to weight rollouts that vLLM sampled, or --dtype auto in bf16, by the trainer's probability over "
            "theirs: the modes of TRL. none: no weights, and without vLLM no other number format than the trainer's.",
        )
    )
    guard_steps: int = option(
        50,
        "Stop (resumable) after N steps with only zero-variance groups or above --max-truncated (0: never).",
        minimum=0,
        identity=False,
    )
    max_truncated: float = option(
        0.95,
        "Largest share of completions cut at the length limit, over --guard-steps steps.",
        minimum=0,
        maximum=1,
        identity=False,
    )


@dataclass(frozen=True)
class LossOptions(Config):
    """What is optimised."""

    PANEL: ClassVar[str] = "Optimiser"

    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = option(
        "dapo", "Policy-gradient loss, as TRL names it."
    )
    importance_sampling: Literal["token", "sequence"] = option(
        "token", "Level of the probability ratio (sequence: GSPO)."
    )
    beta: float = option(0.0, "Weight of the KL penalty against the initial policy.", minimum=0)
    epsilon: float = option(0.2, "Clipping range of the probability ratio: 1 - epsilon to 1 + epsilon.", minimum=0)
    epsilon_high: float | None = option(None, "Upper clipping range. Default: --epsilon.", minimum=0)
    scale_rewards: Literal["group", "batch", "none"] = option(
        "group", "Divide advantages by the standard deviation of the group or of the batch."
    )
    updates_per_rollout: int = option(
        1,
        "Optimiser steps on each batch of rollouts (TRL's num_iterations), with the clipped probability ratio to the "
        "policy that sampled. --max-steps counts all of them.",
        minimum=1,
    )
    mask_truncated: bool = option(False, "Leave completions that hit the length limit out of the loss.")


@dataclass(frozen=True)
class GrpoConfig(
    BackendOptions,
    DataOptions,
    RolloutOptions,
    EnvironmentOptions,
    LossOptions,
    SelectionOptions,
    TrainingOptions,
    LoraOptions,
    EvalConfig,
    RunConfig,
):
    """Group relative policy optimisation of `base_model` with verifiable rewards."""

    TOOL: ClassVar[str] = "grpo"
    NEEDS_LOCAL: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("beta", 0.0),
        ("importance_sampling", "token"),
        ("temperature", 1.0),
        ("top_p", 1.0),
        ("top_k", 0),
        ("updates_per_rollout", 1),
        ("eval_steps", 0),
        ("validation_split", None),
    )
    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "train_samples",
        "base_model",
        "learning_rate",
        "batch_size",
        "max_steps",
        "reward",
        "num_generations",
        "prompts_per_step",
        "max_completion_length",
        "eval_data",
        "eval_samples",
        "output_dir",
        "overwrite",
        "dry_run",
    )

    base_model: str = option("demo", "Hub id, folder (model or adapter), run directory, or 'demo'.", panel="Model")
    batch_size: int | None = option(
        None,
        "Completions per device in one forward pass. Default: the largest divisor up to 16 of a step's completions.",
        minimum=1,
        panel="Optimiser",
    )
    epochs: float = option(1.0, "Passes over the training problems.", minimum=0, panel="Optimiser")
    learning_rate: float = option(1e-5, "Peak learning rate.", minimum=0, panel="Optimiser")
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = option(
        "constant_with_warmup", "Learning rate schedule."
    )
    engine: Literal["transformers", "vllm", "http"] = option(
        "transformers",
        "What samples the completions. transformers and vllm: in this process, for training and evaluation; http: a "
        "vLLM server, for the rollouts.",
        identity=False,
        panel="Rollouts",
    )
    endpoint: str | None = option(
        None,
        "Address of the vLLM server (http://host:8000/v1), for --engine http.",
        identity=False,
        secret=ADDRESS,
        panel="Rollouts",
    )
    api_key_env: str | None = option(
        None,
        "Environment variable with the server's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
        panel="Rollouts",
    )
    gpu_memory_utilization: float = option(
        0.3,
        "Share of GPU memory for --engine vllm beside the trainer; it is released while a step trains.",
        minimum=0.05,
        maximum=1.0,
        identity=False,
        panel="Rollouts",
    )
    logging_steps: int = option(1, "Steps between logged lines.", minimum=1, identity=False)
    save_steps: int = option(20, "Steps between checkpoints.", minimum=1, identity=False)
    eval: bool = option(True, "Evaluate before and after training, on the same problems.", panel="Evaluation")

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.engine == "transformers" and self.dtype != "auto":
            found["vllm_importance_sampling"] = f"with --engine transformers and --dtype {self.dtype}"
        if self.engine != "vllm":
            found["gpu_memory_utilization"] = f"with --engine {self.engine}"
        if self.engine != "http":
            found["api_key_env"] = f"with --engine {self.engine}"
        if not self.has_tools:
            found |= dict.fromkeys(
                ("max_turns", "tool_timeout", "tool_result_limit"), "without --environment or --tool"
            )
        if not self.guard_steps:
            found["max_truncated"] = "with --guard-steps 0"
        return found

    def identity(self) -> dict[str, Any]:
        """How many completions go through the model at once decides no result but that of the loss which averages over
        them: a run that was cut off for want of memory may go on with fewer."""
        values = super().identity()
        if self.loss != "bnpo":
            del values["batch_size"]
        if self.updates_per_rollout == 1:
            del values["updates_per_rollout"]
        return values

    @property
    def n_completions(self) -> int:
        """Completions in one optimiser step."""
        return self.prompts_per_step * self.num_generations

    @property
    def corrects(self) -> bool:
        """Whether completions that were sampled in other numbers than are trained are weighted for it. A loss that
        weighs tokens takes no weights of sequences."""
        mode = self.vllm_importance_sampling
        return mode != "none" and not (self.loss == "vespo" and mode.startswith("sequence"))

    @property
    def chooses_groups(self) -> bool:
        """Whether other groups may be trained on than those that the order of the problems gives."""
        return self.dynamic_sampling > 0 or self.min_pass_rate > 0 or self.max_pass_rate < 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.endpoint)
        if self.min_pass_rate > self.max_pass_rate:
            raise ToolError(
                f"--min-pass-rate {self.min_pass_rate:g} is above --max-pass-rate {self.max_pass_rate:g}; lower it"
            )
        if self.batch_size is None:
            n = self.n_completions // self.processes
            object.__setattr__(self, "batch_size", max(d for d in range(1, 17) if d == 1 or n % d == 0))
        if self.n_completions % self.batch_size:
            raise ToolError(
                f"--batch-size {self.batch_size} does not divide the {self.n_completions} completions of a step "
                f"({self.prompts_per_step} prompts x {self.num_generations}); take a divisor of it"
            )
        if self.backend == "tinker" and self.loss not in REMOTE_LOSSES:
            raise ToolError(
                f"--loss {self.loss} is not possible with --backend tinker, whose losses are {', '.join(REMOTE_LOSSES)}"
            )
        self.check_tools(self.engine, self.backend)
        if self.engine != "transformers":
            self._check_vllm()
        if self.engine == "http":
            self._check_server()
        elif self.endpoint is not None:
            raise ToolError("--endpoint is for --engine http; leave it out, or pass --engine http")

    def _check_vllm(self) -> None:
        if self.load_in_4bit:
            raise ToolError(
                "--load-in-4bit trains other weights than vLLM draws with; leave it out or take --engine transformers"
            )
        if self.full_finetune:
            raise ToolError(
                "vLLM is handed adapters, not whole weights; leave out --full-finetune, or take --engine transformers "
                "and evaluate with tools-bench --engine vllm"
            )
        if self.temperature != 1 and (self.top_p < 1 or self.top_k):
            raise ToolError(
                f"vLLM gives no log-probabilities at --temperature {self.temperature:g} with --top-p or --top-k; take "
                "--temperature 1, leave them out, or take --engine transformers"
            )
        if self.sharding != "none":
            raise ToolError("vLLM is handed whole adapters; leave out --sharding, or take --engine transformers")
        if not self.corrects and self.vllm_importance_sampling != "none":
            raise ToolError(
                "--loss vespo weighs tokens; pass --vllm-importance-sampling token_truncate, token_mask or none"
            )

    def _check_server(self) -> None:
        if self.endpoint is None:
            raise ToolError("--engine http needs --endpoint, such as http://localhost:8000/v1")
        if self.adapter == "merge":
            raise ToolError(
                "--engine http hands adapters to a server that has the base: merge first and serve that, leave out "
                "--adapter merge, or take --engine vllm"
            )
        if self.temperature != 1:
            raise ToolError(
                f"--engine http gives log-probabilities at temperature 1 alone, not {self.temperature:g}; take "
                "--engine vllm or transformers"
            )


@dataclass(frozen=True)
class GrpoExportConfig(ExportConfig):
    """Export a finished run."""

    TOOL: ClassVar[str] = "grpo"
