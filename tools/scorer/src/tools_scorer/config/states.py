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

    input_file: str | None = option(None, "Attempts: any source, or the .graded.jsonl of tools-traces.")
    output_dir: str | None = option(
        None,
        "Run directory to make; it gets a JSONL file of the input's name. Default: $OUTPUT_DIR/scorer_data.",
        flags=("--output-file",),
        identity=False,
    )
    tokenizer_path: str = option(
        "demo",
        "The model that will read the traces, or its tokenizer: hub id, folder, run directory, or 'demo'.",
        flags=("--model-name",),
    )
    profile: str | None = option(
        None,
        "Prompt profile: gsm8k-tags, think, boxed, or a YAML file. Default: the model's own, else that of the "
        "thinking tags in the responses, else gsm8k-tags.",
    )
    delimiter: str = option("\\n\\n", "What ends a step: '\\n\\n', '\\n' or 'sentence'.")
    last_token: bool = option(True, "Also keep the last token of the reasoning, where the last step ends.")
    untagged: Literal["reject", "whole"] = option(
        "reject", "A response without a thinking block: reject it, or take all of it as reasoning."
    )
    unanswered: Literal["reject", "wrong"] = option(
        "reject", "A response without an answer: reject it, or keep it as a wrong one."
    )
    labelled: bool = option(True, "Reject rows without a ground truth; --no-labelled keeps them, to be scored.")
    question_key: str = option("question", "Field that holds the question; dots reach into objects.")
    response_key: tuple[str, ...] = option(
        ("response",), "Field that holds the response. Repeatable: each is an attempt of its own."
    )
    ground_truth_key: str = option("ground_truth", "Field that holds the right answer, or a solution that ends in it.")
    answer_key: str = option("extracted_answer", "Field that holds the response's answer; found in it where missing.")
    groups: str | None = option(
        None,
        "Questions that belong together: the .clusters.jsonl of tools-dedup --within, or rows with question and group.",
    )
    calibration_share: float = option(
        CALIBRATION_SHARE, "Share of the questions kept for calibration.", minimum=0, maximum=0.9
    )
    test_share: float = option(TEST_SHARE, "Share of the questions kept for the test.", minimum=0, maximum=0.9)
    seed: int = option(0, "Which questions fall into which split.", minimum=0)

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

    input_path: str | None = option(None, "The JSONL file that `tools-scorer preprocess` wrote.")
    output_path: str | None = option(
        None,
        "Folder of the shards; the known pipeline's prefix. Default: the input file's, with -hidden.",
        identity=False,
    )
    model_name: str = option("demo", "The model that reads: hub id, folder, run directory, or 'demo'.")
    start_idx: int = option(0, "First trace of the input, from 0.", minimum=0, identity=False)
    end_idx: int | None = option(None, "The trace after the last. Default: all.", minimum=1, identity=False)
    shard: str | None = option(None, "i/n with i from 0: only this part of the shards.", identity=False)
    shard_size: int = option(1000, "Traces in one shard.", minimum=1)
    layers: str = option(
        "-1", "Hidden states to keep, comma-separated: 0 is the embedding, k the output of block k, -1 the last."
    )
    norm: Literal["post", "pre"] = option("post", "The last layer's states after or before the final norm.")
    engine: Literal["transformers", "vllm", "ray"] = option(
        "transformers", "What runs the model. ray: transformers in the workers of a Ray cluster."
    )
    dtype: Literal["fp16", "bf16", "fp32"] = option("fp16", "Number format of what is stored.")
    compute_dtype: Literal["auto", "fp32", "bf16", "fp16"] = option(
        "auto", "Number format of the model. auto: bf16 where the processor or GPU has it, else fp32."
    )
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Where the model runs.", identity=False)
    max_batch_tokens: int | None = option(
        None,
        "Tokens in one batch, padding included. Default: 1024 on a processor (larger ones are slower), else 16384.",
        minimum=1,
        identity=False,
    )
    export: Literal["pt"] | None = option(
        None, "pt: also write PREFIX_hiddenstates_START_END.pt, as the known pipeline reads it.", identity=False
    )
    overwrite: bool = option(False, "Make shards again that are finished.", identity=False)

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
