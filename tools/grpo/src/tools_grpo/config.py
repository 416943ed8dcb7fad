"""Options of tools-grpo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tools_shared.addresses import ADDRESS, VARIABLE
from tools_shared.config import option, source_option
from tools_shared.engines import check_address
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.runs import RunConfig
from tools_shared.training.options import TrainingOptions
from tools_shared.training.trainable import LoraOptions


@dataclass(frozen=True)
class GrpoConfig(TrainingOptions, LoraOptions, EvalConfig, RunConfig):
    """Group relative policy optimisation of `base_model` with verifiable rewards."""

    TOOL: ClassVar[str] = "grpo"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "num_epochs": "epochs",
        "num_train_epochs": "epochs",
        "train_path": "train_file",
        "eval_path": "eval_file",
        "rewards": "reward",
        "precision": "dtype",
    }

    base_model: str = option("demo", "Hub id, model folder, adapter folder, run directory, or 'demo'.")
    train_file: tuple[str, ...] = source_option(
        "demo://problems?split=train&size=2048", "Training problems: any source.", flags=("--train-path",)
    )
    train_samples: int | None = option(
        None, "Training problems, from the first. Default: all.", env="TRAIN_SAMPLES", minimum=1
    )
    reward: tuple[str, ...] = option(
        ("verified",), "Reward as NAME[:WEIGHT] or file.py:function[:WEIGHT]; repeatable, the weighted sum counts."
    )
    num_generations: int = option(8, "Completions of each prompt: the group.", env="NUM_GENERATIONS", minimum=2)
    prompts_per_step: int = option(8, "Prompts in one optimiser step.", minimum=1)
    batch_size: int = option(16, "Completions in one forward pass on a device.", minimum=1)
    epochs: float = option(1.0, "Passes over the training problems, unless --max-steps says less.", minimum=0)
    learning_rate: float = option(1e-5, "Peak learning rate.", minimum=0)
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = option(
        "constant_with_warmup", "How the learning rate changes over the run."
    )
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = option("dapo", "TRL's loss.")
    importance_sampling: Literal["token", "sequence"] = option(
        "token", "Level of the probability ratio; sequence is GSPO's."
    )
    beta: float = option(0.0, "Weight of the KL penalty against the base model.", minimum=0)
    epsilon: float = option(0.2, "How far the probability ratio may fall (and rise) before it is clipped.", minimum=0)
    epsilon_high: float | None = option(None, "How far it may rise. Default: as --epsilon.", minimum=0)
    scale_rewards: Literal["group", "batch", "none"] = option(
        "group", "Whose standard deviation the advantages are divided by."
    )
    mask_truncated: bool = option(False, "Leave completions that hit the length limit out of the loss.")
    temperature: float = option(1.0, "Sampling temperature of the rollouts.", minimum=0.01)
    top_p: float = option(1.0, "Nucleus of the rollouts; 1 leaves all tokens in.", minimum=0.01, maximum=1)
    top_k: int = option(0, "Most likely tokens of the rollouts; 0 leaves all in.", minimum=0)
    max_completion_length: int = option(512, "Longest rollout, in tokens.", minimum=1)
    dynamic_sampling: int = option(
        0, "Draw other problems for the groups without spread of a step, up to so many times.", minimum=0
    )
    min_pass_rate: float = option(
        0.0, "Pass over problems once tried that were solved less often than this so far.", minimum=0, maximum=1
    )
    max_pass_rate: float = option(
        1.0, "Pass over problems once tried that were solved more often than this so far.", minimum=0, maximum=1
    )
    engine: Literal["transformers", "vllm", "http"] = option(
        "transformers",
        "What draws the completions: transformers or vllm here, in training and evaluations; http: vLLM's server draws "
        "the rollouts.",
        identity=False,
    )
    endpoint: str | None = option(
        None, "Address of vLLM's server (http://host:8000/v1), for --engine http.", identity=False, secret=ADDRESS
    )
    api_key_env: str | None = option(
        None,
        "Environment variable that holds the server's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
    )
    gpu_memory_utilization: float = option(
        0.3,
        "Share of the GPU's memory that --engine vllm may take beside the trainer; given back while a step trains.",
        minimum=0.05,
        maximum=1.0,
        identity=False,
    )
    vllm_importance_sampling: Literal["sequence_mask", "sequence_truncate", "token_mask", "token_truncate", "none"] = (
        option(
            "sequence_mask",
            "How rollouts that vLLM drew are weighted by the trainer's probability over vLLM's: TRL's modes.",
        )
    )
    guard_steps: int = option(
        50,
        "Stop, resumable, when for so many steps no group has spread or --max-truncated is passed; 0: never.",
        minimum=0,
        identity=False,
    )
    max_truncated: float = option(
        0.95,
        "Largest share of completions that may be cut at the length limit over --guard-steps steps.",
        minimum=0,
        maximum=1,
        identity=False,
    )
    logging_steps: int = option(1, "Steps between logged lines.", minimum=1, identity=False)
    save_steps: int = option(20, "Steps between checkpoints.", minimum=1, identity=False)
    eval: bool = option(True, "Evaluate before and after training, on the same problems.")

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.engine == "transformers":
            found["vllm_importance_sampling"] = "with --engine transformers"
        if self.engine != "vllm":
            found["gpu_memory_utilization"] = f"with --engine {self.engine}"
        if self.engine != "http":
            found["api_key_env"] = f"with --engine {self.engine}"
        if not self.guard_steps:
            found["max_truncated"] = "with --guard-steps 0"
        return found

    def identity(self) -> dict[str, Any]:
        """How many completions go through the model at once decides no result but that of the loss which averages over
        them: a run that was cut off for want of memory may go on with fewer."""
        values = super().identity()
        if self.loss != "bnpo":
            del values["batch_size"]
        return values

    @property
    def n_completions(self) -> int:
        """Completions in one optimiser step."""
        return self.prompts_per_step * self.num_generations

    @property
    def corrects(self) -> bool:
        """Whether completions are weighted for having been sampled by another program than the one that trains."""
        return self.engine != "transformers" and self.vllm_importance_sampling != "none"

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
        if self.n_completions % self.batch_size:
            raise ToolError(
                f"--batch-size {self.batch_size} does not divide the {self.n_completions} completions of a step "
                f"({self.prompts_per_step} prompts x {self.num_generations}); take a divisor of it"
            )
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
        if self.loss == "vespo" and self.corrects and self.vllm_importance_sampling.startswith("sequence"):
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
