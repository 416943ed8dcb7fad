"""Options of tools-sft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tools_shared.config import Config, flag_of, option, source_option
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.export.options import ExportConfig
from tools_shared.runs import RunConfig
from tools_shared.training.options import TrainingOptions
from tools_shared.training.selection.options import SelectionOptions
from tools_shared.training.tinker.options import BackendOptions
from tools_shared.training.trainable import LoraOptions

DISTILLING = {"divergence": "forward", "temperature": 1.0, "alpha": 1.0, "on_policy": False}
"""Options that only distillation reads, and their defaults."""
MOST_COPIES = 1000
"""Largest weight of a source."""
CPU_TILE = 256
"""Tokens that go through the model's head at once on a CPU, where a tile of TRL's 4,096 leaves every cache."""


@dataclass(frozen=True)
class DataOptions(Config):
    """Which rows are learned."""

    PANEL: ClassVar[str] = "Data"

    data: tuple[str, ...] = source_option(
        "demo://problems?split=train&size=2048", "Training rows: any source.", aliases=("train_file", "train_path")
    )
    data_weight: tuple[float, ...] = option(
        (),
        "How often each row of a source is learned in an epoch (0.5: half of the rows), one number for each --data in "
        "their order. Repeatable. Default: once.",
    )
    traces_file: tuple[str, ...] = source_option(
        None,
        'Rows of a model (tools-traces), instead of --data. {"question", "answer": "reasoning\\n\\n#### 42"}.',
    )
    train_samples: int | None = option(
        None, "Use the first N rows (--stage full). Default: all.", env="TRAIN_SAMPLES", minimum=1
    )
    prep_train_samples: int | None = option(
        128, "Use the first N rows (--stage prep).", env="PREP_TRAIN_SAMPLES", minimum=1
    )
    max_length: int = option(2048, "Longest example (prompt and completion), in tokens.", minimum=8)
    on_overlong: Literal["error", "drop", "truncate"] = option("error", "What to do with longer examples.")
    loss_on: Literal["completion", "assistant", "all"] = option(
        "completion",
        "Compute the loss on the completion only; on every assistant turn of a conversation, each behind the prompt "
        "that it had; or on all tokens.",
    )
    packing: bool = option(False, "Pack several short examples into one row, without attention between them.")


@dataclass(frozen=True)
class DistillationOptions(Config):
    """Learning from another model's probabilities."""

    PANEL: ClassVar[str] = "Distillation"

    objective: Literal["sft", "distill"] = option(
        "sft", "sft: learn the tokens of the data; distill: learn the token probabilities of --teacher."
    )
    teacher: str | None = option(
        None, "Teacher of --objective distill: a local or hub model with the base model's tokenizer."
    )
    divergence: Literal["forward", "reverse", "jsd"] = option(
        DISTILLING["divergence"],
        "Divergence to minimise: KL(teacher || student), KL(student || teacher), or the Jensen-Shannon divergence.",
    )
    temperature: float = option(DISTILLING["temperature"], "Softmax temperature of teacher and student.", minimum=0.01)
    alpha: float = option(
        DISTILLING["alpha"],
        "Weight of the divergence; the SFT loss on the data has the rest (1 - alpha).",
        minimum=0,
        maximum=1,
    )
    on_policy: bool = option(
        DISTILLING["on_policy"],
        "Distill on completions that the student samples at each step, instead of those in the data.",
    )
    max_completion_length: int = option(512, "Longest completion that --on-policy samples, in tokens.", minimum=1)


@dataclass(frozen=True)
class SftConfig(
    BackendOptions,
    DataOptions,
    DistillationOptions,
    SelectionOptions,
    TrainingOptions,
    LoraOptions,
    EvalConfig,
    RunConfig,
):
    """Supervised fine-tuning of `base_model` on one data set."""

    TOOL: ClassVar[str] = "sft"
    NEEDS_LOCAL: ClassVar[tuple[tuple[str, Any], ...]] = (
        ("objective", "sft"),
        ("packing", False),
        ("eval_steps", 0),
        ("validation_split", None),
    )
    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "traces_file",
        "train_samples",
        "base_model",
        "epochs",
        "learning_rate",
        "batch_size",
        "gradient_accumulation",
        "max_length",
        "eval_data",
        "eval_samples",
        "stage",
        "output_dir",
        "overwrite",
        "dry_run",
    )

    stage: Literal["prep", "full"] = option(
        "full", "prep: a few rows, to teach the answer format; full: the task. Names the run and chooses the row count."
    )
    base_model: str = option("demo", "Hub id, folder (model or adapter), run directory, or 'demo'.", panel="Model")
    epochs: float | None = option(
        None,
        "Passes over the training rows. Default: 1; with --stage prep as many as make 64 steps, at most 16.",
        minimum=0,
        panel="Optimiser",
    )
    batch_size: int = option(8, "Examples per device in one forward pass.", minimum=1, panel="Optimiser")
    gradient_accumulation: int = option(
        1, "Forward passes per optimiser step (all processes).", minimum=1, panel="Optimiser"
    )
    learning_rate: float | None = option(
        None,
        "Peak learning rate. Default: by the model's width, 2.8e-4 at 8B to 2e-3; a tenth with --full-finetune.",
        minimum=0,
        panel="Optimiser",
    )
    eval: bool = option(True, "Evaluate the trained model.", panel="Evaluation")
    eval_before: bool = option(False, "Also evaluate the base model, before training.", panel="Evaluation")
    best_by: Literal["loss", "accuracy"] = option(
        "loss",
        "What makes an evaluation of --eval-steps the best: the loss on held-out rows, or the accuracy of sampled "
        "answers, which is then measured too.",
        panel="Evaluation",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.objective == "distill") != (self.teacher is not None):
            raise ToolError("--objective distill and --teacher belong together; give both or none")
        if self.data_weight and len(self.data_weight) != len(self.source):
            raise ToolError(
                f"--data-weight is given {len(self.data_weight)} times for {len(self.source)} sources; give one number "
                "for each, in their order"
            )
        if any(not 0 < weight <= MOST_COPIES for weight in self.data_weight):
            shown = " ".join(f"{weight:g}" for weight in self.data_weight)
            raise ToolError(f"--data-weight must be above 0 and at most {MOST_COPIES}, got {shown}")
        given = [name for name, default in DISTILLING.items() if getattr(self, name) != default]
        if self.objective == "sft" and given:
            raise ToolError(f"{flag_of(given[0])} is for --objective distill; leave it out, or give a --teacher")
        if self.on_policy and (self.teacher is None or self.alpha < 1 or self.packing or self.loss_on != "completion"):
            raise ToolError(
                "--on-policy replaces the data's completions with the student's: it needs --objective distill and "
                "--alpha 1, and goes with none of --packing, --loss-on all and --loss-on assistant"
            )

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.traces_file:
            found["data"] = "with --traces-file"
        if not self.eval_steps:
            found["best_by"] = "without --eval-steps"
        if not self.on_policy:
            found["max_completion_length"] = "without --on-policy"
        other = "train_samples" if self.stage == "prep" else "prep_train_samples"
        return found | {other: f"with --stage {self.stage}"}

    def identity(self) -> dict[str, Any]:
        """A step's examples count, not how many of them go through the model at once: a run that was cut off for want
        of memory may go on in smaller batches."""
        values = super().identity()
        if self.best_by == "loss":
            del values["best_by"]
        if not self.data_weight:
            del values["data_weight"]
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
        return self.traces_file or self.data

    @property
    def run_name(self) -> str:
        if self.objective == "distill":
            return "distill"
        return "sft_from_traces" if self.traces_file else f"{self.stage}_sft"


@dataclass(frozen=True)
class SftExportConfig(ExportConfig):
    """Export a finished run."""

    TOOL: ClassVar[str] = "sft"
