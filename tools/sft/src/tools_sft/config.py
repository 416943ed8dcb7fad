"""Options of tools-sft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tools_shared.config import flag_of, option, source_option
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.runs import RunConfig
from tools_shared.training.options import TrainingOptions
from tools_shared.training.trainable import LoraOptions

DISTILLING = {"divergence": "forward", "temperature": 1.0, "alpha": 1.0, "on_policy": False}
"""Options that only distillation reads, and their defaults."""


@dataclass(frozen=True)
class SftConfig(TrainingOptions, LoraOptions, EvalConfig, RunConfig):
    """Supervised fine-tuning of `base_model` on one data set."""

    TOOL: ClassVar[str] = "sft"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "num_epochs": "epochs",
        "num_train_epochs": "epochs",
        "train_path": "train_file",
        "eval_path": "eval_file",
        "precision": "dtype",
    }

    stage: Literal["prep", "full"] = option(
        "full",
        "prep: a few rows, to teach the answer format; full: the task. Names the output and picks the row count.",
    )
    base_model: str = option("demo", "Hub id, model folder, adapter folder, run directory, or 'demo'.")
    train_file: tuple[str, ...] = source_option(
        "demo://problems?split=train&size=2048", "Training rows: any source.", flags=("--train-path",)
    )
    traces_file: tuple[str, ...] = source_option(
        None,
        'Training rows made by a model, {"question", "answer": "reasoning\\n\\n#### 42"}; instead of --train-file.',
    )
    train_samples: int | None = option(
        None, "Rows of stage full, from the first. Default: all.", env="TRAIN_SAMPLES", minimum=1
    )
    prep_train_samples: int | None = option(
        128, "Rows of stage prep, from the first.", env="PREP_TRAIN_SAMPLES", minimum=1
    )
    epochs: float = option(1.0, "Passes over the training rows.", minimum=0)
    batch_size: int = option(8, "Examples in one forward pass on a device.", minimum=1)
    gradient_accumulation: int = option(
        1, "Forward passes summed into one optimiser step, over all processes.", minimum=1
    )
    learning_rate: float = option(2e-4, "Peak learning rate.", minimum=0)
    max_length: int = option(2048, "Longest example, prompt and completion together, in tokens.", minimum=8)
    on_overlong: Literal["error", "drop", "truncate"] = option("error", "What to do with longer examples.")
    loss_on: Literal["completion", "all"] = option("completion", "Which tokens are learned.")
    packing: bool = option(False, "Put several short examples in one row of the batch, without attention between them.")
    objective: Literal["sft", "distill"] = option(
        "sft", "sft: learn the tokens of the data; distill: learn the probabilities that --teacher gives to all tokens."
    )
    teacher: str | None = option(
        None, "For --objective distill: a model that is here or on the hub, with the tokenizer of the base model."
    )
    divergence: Literal["forward", "reverse", "jsd"] = option(
        DISTILLING["divergence"],
        "What is made small: KL(teacher || student), KL(student || teacher), or their Jensen-Shannon mean.",
    )
    temperature: float = option(
        DISTILLING["temperature"], "Softens the probabilities of teacher and student alike.", minimum=0.01
    )
    alpha: float = option(
        DISTILLING["alpha"],
        "Weight of the divergence; the rest is that of the data's own tokens, as in SFT.",
        minimum=0,
        maximum=1,
    )
    on_policy: bool = option(
        DISTILLING["on_policy"],
        "Distill on completions that the student draws itself at each step, instead of the data's.",
    )
    max_completion_length: int = option(512, "Longest completion that --on-policy draws, in tokens.", minimum=1)
    eval: bool = option(True, "Evaluate the trained model.")
    eval_before: bool = option(False, "Evaluate the base model before training too.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.objective == "distill") != (self.teacher is not None):
            raise ToolError("--objective distill and --teacher belong together; give both or none")
        given = [name for name, default in DISTILLING.items() if getattr(self, name) != default]
        if self.objective == "sft" and given:
            raise ToolError(f"{flag_of(given[0])} is for --objective distill; leave it out, or give a --teacher")
        if self.on_policy and (self.teacher is None or self.alpha < 1 or self.packing or self.loss_on == "all"):
            raise ToolError(
                "--on-policy replaces the data's completions with the student's: it needs --objective distill and "
                "--alpha 1, and goes with neither --packing nor --loss-on all"
            )

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.traces_file:
            found["train_file"] = "with --traces-file"
        if not self.on_policy:
            found["max_completion_length"] = "without --on-policy"
        other = "train_samples" if self.stage == "prep" else "prep_train_samples"
        return found | {other: f"with --stage {self.stage}"}

    def identity(self) -> dict[str, Any]:
        """A step's examples count, not how many of them go through the model at once: a run that was cut off for want
        of memory may go on in smaller batches."""
        values = super().identity()
        return values | {"examples_per_step": values.pop("batch_size") * values.pop("gradient_accumulation")}

    @property
    def step_examples(self) -> int:
        """Examples, or packed rows of them, in one optimiser step."""
        return self.batch_size * self.gradient_accumulation

    @property
    def n_train(self) -> int | None:
        """How many training rows this stage takes; None is all."""
        return self.prep_train_samples if self.stage == "prep" else self.train_samples

    @property
    def source(self) -> tuple[str, ...]:
        return self.traces_file or self.train_file

    @property
    def run_name(self) -> str:
        if self.objective == "distill":
            return "distill"
        return "sft_from_traces" if self.traces_file else f"{self.stage}_sft"
