"""Options of `tools-scorer train`, `score`, `evaluate` and `serve`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tools_shared.addresses import VARIABLE
from tools_shared.config import Config, nearest, option
from tools_shared.errors import ToolError
from tools_shared.files import yaml_text
from tools_shared.files.outputs import OverwriteConfig
from tools_shared.runs import RunConfig
from tools_shared.scorers.scorer import Features, ReadAt

CONFIGS = Path(__file__).parent / "recipes"
_OF_RECIPE = "Default: that of --config-name."


@dataclass(frozen=True)
class Recipe:
    """How a scorer is trained: a YAML file, with what the command line says instead."""

    name: str
    hidden: tuple[int, ...]
    loss: Literal["bce", "pairwise"]
    class_weight: bool
    weighting: Literal["trace", "step"]
    learning_rate: float
    weight_decay: float
    batch_size: int
    epochs: int
    patience: int
    calibration: Literal["temperature", "isotonic", "none"]
    features: Features
    read_at: ReadAt = "steps"


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Learn, from hidden states of traces that were right and wrong, to tell them apart."""

    TOOL: ClassVar[str] = "scorer"

    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "step_sample_ratio",
        "config_name",
        "loss",
        "select",
        "learning_rate",
        "batch_size",
        "epochs",
        "seed",
        "export",
        "output_dir",
        "overwrite",
    )
    PANEL: ClassVar[str] = "Optimiser"
    READS_ROWS: ClassVar[bool] = False

    data: str | None = option(
        None,
        "Folder of hidden states that `tools-scorer extract` wrote, or of .pt files in the layout of STEP; with "
        "--model also rows: attempts, or process-reward data (prompt, completions, labels).",
        aliases=("train_dir",),
        panel="Data",
    )
    model: str | None = option(
        None, "Backbone that reads --data where it is rows: hub id, folder, run directory, or 'demo'.", panel="Model"
    )
    config_name: str = option(
        "qwen3_4b_default",
        "Recipe: qwen3_4b_default, demo, linear, or a YAML file with the same keys.",
        panel="Model",
    )
    step_sample_ratio: float = option(
        1.0, "Share of each trace's steps to train on (at least one step).", minimum=0.0001, maximum=1, panel="Data"
    )
    hidden: str | None = option(
        None, f"Widths of the hidden layers, comma-separated; 'none' is linear. {_OF_RECIPE}", panel="Model"
    )
    loss: Literal["bce", "pairwise"] | None = option(
        None, f"bce: right or wrong; pairwise: the right one of two traces of a question. {_OF_RECIPE}"
    )
    weighting: Literal["trace", "step"] | None = option(
        None, f"trace: a long trace counts as much as a short one; step: each step the same. {_OF_RECIPE}"
    )
    learning_rate: float | None = option(None, f"Learning rate of Adam. {_OF_RECIPE}", minimum=0)
    weight_decay: float | None = option(None, f"Weight decay of Adam. {_OF_RECIPE}", minimum=0)
    batch_size: int | None = option(None, f"Rows per batch. {_OF_RECIPE}", minimum=2)
    epochs: int | None = option(None, f"Most passes over the rows. {_OF_RECIPE}", minimum=1)
    patience: int | None = option(
        None, f"Stop after N epochs without a better validation loss. {_OF_RECIPE}", minimum=1
    )
    calibration: Literal["temperature", "isotonic", "none"] | None = option(
        None, f"How to calibrate the probabilities, on the calibration split. {_OF_RECIPE}"
    )
    features: Literal["last", "middle", "layer_mean", "concat"] | None = option(
        None,
        f"Input of several recorded layers: the last, the middle one, their mean, or all. {_OF_RECIPE}",
        panel="Model",
    )
    read_at: Literal["steps", "end"] | None = option(
        None,
        f"steps: the state at each step's end; end: only that where the reasoning ends. {_OF_RECIPE}",
        panel="Model",
    )
    select: bool = option(
        False,
        "Train every read-out (layers, steps or end, linear or not, both losses) and keep the one with the best AUROC "
        "within a question on the calibration questions.",
        panel="Model",
    )
    dtype: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        "Number format of matrix products. auto: bf16 on a CPU with AMX, else fp32.",
        aliases=("precision",),
        panel="Model",
    )
    memory_mb: int = option(512, "Memory (MB) for the shuffle buffer.", minimum=1, panel="Data")
    seed: int = option(0, "Seed of the weights and of the order.", minimum=0, panel="Run")
    export: tuple[Literal["onnx", "step-pt"], ...] = option(
        (),
        "Also export: onnx, or step-pt with the key names that the engine of STEP loads. Repeatable.",
        identity=False,
        panel="Run",
    )


@dataclass(frozen=True)
class ReadingConfig(Config):
    """The scorer, and the backbone where a command takes text instead of hidden states."""

    TOOL: ClassVar[str] = "scorer"
    PANEL: ClassVar[str] = "Model"

    scorer: str | None = option(
        None, "Run of `tools-scorer train`, or its checkpoint folder; model:PATH is a whole model, for text."
    )
    model: str | None = option(
        None, "Backbone that encodes text. Default: the one the scorer was trained with.", aliases=("model_name",)
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Device of the backbone.", identity=False)


@dataclass(frozen=True)
class ScoreConfig(OverwriteConfig, ReadingConfig):
    """Score traces."""

    PANEL: ClassVar[str] = "Data"

    data: str | None = option(
        None,
        "A folder of hidden states, or rows with question and response (any source).",
        aliases=("input", "input_file"),
    )
    output_file: str = option("scores.jsonl", "JSONL file to write, one trace per line.", panel="Output")
    question_key: str = option("question", "Field that holds the question; dots reach into objects.")
    response_key: str = option("response", "Field that holds the response; dots reach into objects.")
    batch_tokens: int = option(8192, "Tokens per forward pass of the backbone.", minimum=1, panel="Model")


@dataclass(frozen=True)
class ScorerEvaluateConfig(RunConfig):
    """Judge a scorer on questions that it was not trained on."""

    TOOL: ClassVar[str] = "scorer"

    PANEL: ClassVar[str] = "Evaluation"
    READS_ROWS: ClassVar[bool] = False
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    scorer: str | None = option(None, "Run of `tools-scorer train`, or its checkpoint folder.", panel="Model")
    data: str | None = option(None, "Folder of hidden states.", aliases=("train_dir",), panel="Data")
    traces: str | None = option(
        None,
        "The .jsonl of `tools-scorer preprocess` that the states are of: adds a baseline on the text alone.",
        panel="Data",
    )
    scorer_model: tuple[str, ...] = option(
        (),
        "Compare with this model on the same traces: a reward model, a process reward model, or a language model (its "
        "mean log-probability); folder or hub id. Repeatable; needs --traces.",
        panel="Model",
    )
    split: Literal["train", "calibration", "test", "all"] = option("test", "Split to evaluate on.", panel="Data")
    aggregate: Literal["mean", "last", "min", "ema"] = option("mean", "How step scores become the trace score.")
    max_k: int = option(16, "Most traces per question in the selection curves.", minimum=1)
    resamples: int = option(2000, "Bootstrap resamples per interval.", minimum=100)
    seed: int = option(0, "Seed of resamples and subsets.", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scorer_model and self.traces is None:
            raise ToolError("--scorer-model reads text; name the file of `tools-scorer preprocess` with --traces too")


@dataclass(frozen=True)
class ServeConfig(ReadingConfig):
    """Answer over HTTP."""

    PANEL: ClassVar[str] = "Server"

    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(8080, "Port to listen on; 0 is any free one.", minimum=0, maximum=65535)
    max_body_mb: float = option(8.0, "Largest request body.", minimum=0.001)
    max_tokens: int = option(16384, "Longest trace (prompt and response), in tokens.", minimum=1)
    max_connections: int = option(
        256, "Most open connections; beyond it the oldest without a complete request is closed.", minimum=1
    )
    api_key_env: str | None = option(
        None, "Environment variable with the key that requests must send (Authorization: Bearer KEY).", secret=VARIABLE
    )
    allowed_host: tuple[str, ...] = option(
        (), "Host name that requests may use, besides localhost and IP addresses; '*': any. Repeatable."
    )
    max_traces: int = option(64, "Most traces per request.", minimum=1)
    text: bool = option(True, "Also accept text; --no-text starts without the backbone, for hidden states only.")


def recipe(config: TrainConfig) -> Recipe:
    """The settings of `--config-name` with what the command line gives instead.

    Raises ToolError naming the known ones, an unknown key, or one that is missing.
    """
    path = CONFIGS / f"{config.config_name}.yaml"
    if not path.is_file():
        path = Path(config.config_name)
    known = sorted(p.stem for p in CONFIGS.glob("*.yaml"))
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ToolError(
            f"--config-name {config.config_name}: no such settings: use {', '.join(known)}, or a YAML file"
            f"{nearest(config.config_name, known)}"
        )
    values = _read(path)
    for name in values:
        given = getattr(config, name, None)
        if given is not None:
            values[name] = given
    if isinstance(values["hidden"], str):
        values["hidden"] = _widths(values["hidden"])
    return Recipe(name=path.stem, **{**values, "hidden": tuple(values["hidden"])})


def _read(path: Path) -> dict[str, Any]:
    values = yaml_text.load(path)
    names = {f.name for f in dataclasses.fields(Recipe)} - {"name"}
    optional = {f.name: f.default for f in dataclasses.fields(Recipe) if f.default is not dataclasses.MISSING}
    given = set(values) if isinstance(values, Mapping) else set()
    if wrong := sorted(map(str, given - names)) or sorted(names - given - set(optional)):
        raise ToolError(f"{path}: settings have the keys {', '.join(sorted(names))}; see {', '.join(wrong)}")
    return optional | dict(values)


def _widths(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = (0,)
    if min(widths) < 1:
        raise ToolError(f"--hidden is widths with commas, such as 512 or 256,64, or 'none'; got '{text}'")
    return widths
