"""Options of `tools-scorer preprocess` and `tools-scorer extract`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tools_shared.config import option, parse_shard
from tools_shared.errors import ToolError
from tools_shared.processes.ray_map import RayConfig
from tools_shared.runs import RunConfig
from tools_shared.states.splits import CALIBRATION_SHARE, TEST_SHARE
from tools_shared.states.steps import parse_delimiter, parse_layers


@dataclass(frozen=True)
class PreprocessConfig(RunConfig):
    """What is read, where a step ends, and how questions are split."""

    TOOL: ClassVar[str] = "scorer"
    PANEL: ClassVar[str] = "Data"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)
    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "question_key",
        "response_key",
        "ground_truth_key",
        "answer_key",
        "groups",
        "model",
        "profile",
        "delimiter",
        "output_dir",
        "overwrite",
    )

    data: str | None = option(
        None, "Attempts: any source, or the .graded.jsonl of tools-traces.", aliases=("input_file",)
    )
    output_dir: str | None = option(
        None,
        "Run directory to make, with a JSONL file named as the input. Default: $OUTPUT_DIR/scorer_data.",
        aliases=("output_file",),
        identity=False,
        panel="Run",
    )
    model: str = option(
        "demo",
        "Backbone, or its tokenizer: hub id, folder, run directory, or 'demo'.",
        aliases=("tokenizer_path", "model_name"),
        panel="Model",
    )
    profile: str | None = option(
        None,
        "Prompt profile: gsm8k-tags, think, boxed, or a YAML file. Default: the model's own, else that of the "
        "thinking tags in the responses, else gsm8k-tags.",
        panel="Model",
    )
    delimiter: str = option("\\n\\n", "What ends a step: '\\n\\n', '\\n' or 'sentence'.")
    last_token: bool = option(True, "Also keep the last token of the reasoning, which ends the last step.")
    untagged: Literal["reject", "whole"] = option(
        "reject", "Reject a response without a thinking block, or take the whole response as reasoning."
    )
    unanswered: Literal["reject", "wrong"] = option(
        "reject", "Reject a response without an answer, or count it as wrong."
    )
    labelled: bool = option(True, "Reject rows without a ground truth; --no-labelled keeps them for scoring.")
    question_key: str = option("question", "Field that holds the question; dots reach into objects.")
    response_key: tuple[str, ...] = option(
        ("response",), "Field that holds the response. Repeatable: each field is one attempt."
    )
    ground_truth_key: str = option("ground_truth", "Field that holds the gold answer, or a solution that ends with it.")
    answer_key: str = option(
        "extracted_answer", "Field that holds the extracted answer; extracted by the tool if missing."
    )
    groups: str | None = option(
        None,
        "Keep questions of one group in one split: .clusters.jsonl of tools-dedup --within, or rows with question and "
        "group.",
    )
    calibration_share: float = option(
        CALIBRATION_SHARE, "Share of the questions kept for calibration.", minimum=0, maximum=0.9
    )
    test_share: float = option(TEST_SHARE, "Share of the questions kept for the test.", minimum=0, maximum=0.9)
    seed: int = option(0, "Seed of the split.", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_delimiter(self.delimiter)
        if self.calibration_share + self.test_share >= 1:
            raise ToolError(
                f"--calibration-share {self.calibration_share} and --test-share {self.test_share} leave nothing "
                "to train on; together they stay below 1"
            )


@dataclass(frozen=True)
class ExtractConfig(RayConfig):
    """Which model reads which traces, and what of its hidden states is kept."""

    TOOL: ClassVar[str] = "scorer"
    PANEL: ClassVar[str] = "Model"
    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "start_idx",
        "end_idx",
        "shard",
        "model",
        "layers",
        "dtype",
        "device",
        "engine",
        "export",
        "output_dir",
        "overwrite",
    )

    data: str | None = option(
        None, "JSONL file that `tools-scorer preprocess` wrote.", aliases=("input_path",), panel="Data"
    )
    output_dir: str | None = option(
        None,
        "Folder of the shards. Default: the name of the data file, with -hidden.",
        aliases=("output_path",),
        identity=False,
        panel="Run",
    )
    model: str = option("demo", "Backbone: hub id, folder, run directory, or 'demo'.", aliases=("model_name",))
    start_idx: int = option(0, "First trace, counted from 0.", minimum=0, identity=False, panel="Data")
    end_idx: int | None = option(
        None, "Trace after the last one. Default: all.", minimum=1, identity=False, panel="Data"
    )
    shard: str | None = option(None, "i/n with i from 0: only this part of the shards.", identity=False, panel="Data")
    shard_size: int = option(1000, "Traces per shard.", minimum=1, panel="Data")
    layers: str = option(
        "-1", "Layers to record, comma-separated: 0 is the embedding, k the output of block k, -1 the last."
    )
    norm: Literal["post", "pre"] = option("post", "Record the last layer after or before the final norm.")
    engine: Literal["transformers", "vllm", "ray"] = option(
        "transformers", "What runs the backbone. ray: transformers in the workers of a Ray cluster."
    )
    dtype: Literal["fp32", "bf16", "fp16"] = option("fp16", "Number format of the recorded states.")
    compute_dtype: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "Number format of the backbone. auto: bf16 where the CPU or GPU supports it, else fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Device of the backbone.", identity=False)
    max_batch_tokens: int | None = option(
        None,
        "Tokens per batch, with padding. Default: 1024 on a CPU (larger is slower), else 16384.",
        minimum=1,
        identity=False,
    )
    export: Literal["pt"] | None = option(
        None, "pt: also write DIR_hiddenstates_START_END.pt, in the layout of STEP.", identity=False, panel="Run"
    )
    overwrite: bool = option(False, "Also repeat finished shards.", identity=False, panel="Run")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.layer_numbers, self.shard_of
        if self.end_idx is not None and self.end_idx <= self.start_idx:
            raise ToolError(f"--end-idx {self.end_idx} must be above --start-idx {self.start_idx}")

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        return parse_layers(self.layers, "--layers")

    @property
    def shard_of(self) -> tuple[int, int]:
        """(i, n); (0, 1) is the whole."""
        return parse_shard(self.shard)
