"""Options of tools-traces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from tools_shared.config import Sources, option, parse_shard, source_option
from tools_shared.engines import EngineConfig, check_served
from tools_shared.errors import ToolError
from tools_shared.processes.ray_map import RayConfig
from tools_shared.runs import RunConfig, check_file_name
from tools_shared.states.steps import parse_delimiter, parse_layers

DEFAULT_SIZE = 2048


@dataclass(frozen=True)
class OutputConfig(RunConfig):
    """Which of the graded attempts become rows, and where they go."""

    TOOL: ClassVar[str] = "traces"

    output_file: str = option("traces.jsonl", "Name of the rows' file in the output directory.")
    keep: str = option(
        "first",
        "Which verified traces of a question become rows: first, shortest, all, k:N (the first N), or diverse "
        "(one for each list of equations).",
    )
    fallback: Literal["original", "skip"] = option(
        "original", "What stands for a question without a verified trace: the data's own solution, or nothing."
    )
    dedup: bool = option(False, "Leave out a row whose question and reasoning stand in an earlier row.")
    min_pass_rate: float = option(
        0.0, "Leave out questions of which a smaller share of all attempts is verified.", minimum=0, maximum=1
    )
    max_pass_rate: float = option(
        1.0, "Leave out questions of which a larger share of all attempts is verified.", minimum=0, maximum=1
    )
    emit: Literal["rows", "graded"] = option(
        "rows", "graded: also write every attempt, right and wrong, to NAME.graded.jsonl."
    )
    token_ids: bool = option(False, "Write each response's tokens into its row.")
    scorer: str | None = option(
        None, "A run of tools-scorer train: verified traces are scored, and --min-score leaves out the lowest."
    )
    min_score: float | None = option(
        None, "With --scorer: leave out traces whose mean step probability is lower.", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.keep_count
        if (self.scorer is None) != (self.min_score is None):
            raise ToolError("--scorer and --min-score belong together; give both or none")
        if self.min_pass_rate > self.max_pass_rate:
            raise ToolError(f"--min-pass-rate {self.min_pass_rate} is above --max-pass-rate {self.max_pass_rate}")
        check_file_name("--output-file", self.output_file, taken=("attempts.jsonl",))

    @property
    def keep_count(self) -> int | None:
        """How many verified traces a question needs until it is done; None: every attempt is sampled."""
        if self.keep == "first":
            return 1
        if self.keep in ("all", "shortest", "diverse"):
            return None
        match = re.fullmatch(r"k:([1-9][0-9]{0,5})", self.keep)
        if match is None:
            raise ToolError(f"--keep must be first, shortest, all, diverse or k:N with N at least 1, got '{self.keep}'")
        return int(match[1])

    @property
    def goal(self) -> int | None:
        """`keep_count`, or None where the pass rate is wanted, which stopping early would bias, or where a trace may
        still be left out for its score."""
        every = (self.min_pass_rate, self.max_pass_rate) == (0.0, 1.0) and self.scorer is None
        return self.keep_count if every else None


@dataclass(frozen=True)
class TracesConfig(OutputConfig, EngineConfig, RayConfig):
    """Verified traces of one model on one data set."""

    ALIASES: ClassVar[Mapping[str, str]] = {"grpo_model": "model", "base_model": "model", "model_path": "model"}

    model: str = option(
        "demo",
        "Hub id, model folder, adapter folder, run directory, or 'demo'.",
        flags=("--grpo-model", "--base-model", "--model-path"),
    )
    data: tuple[str, ...] = source_option(
        f"demo://problems?size={DEFAULT_SIZE}", "Problems: any source.", flags=("--train-path", "--train-file")
    )
    dataset_split: str | None = option(None, "Split of the data, where its address names a set with splits.")
    num_samples: int | None = option(None, "How many problems, from the first. Default: all.", minimum=1)
    max_attempts: int = option(5, "Most completions drawn of one question.", minimum=1)
    batch_size: int = option(32, "Completions under way at once.", minimum=1)
    temperature: float = option(0.8, "Sampling temperature.", minimum=0)
    top_p: float = option(1.0, "Only the likeliest tokens that make up this probability.", minimum=0.0001, maximum=1)
    top_k: int = option(0, "Only so many of the likeliest tokens; 0 is all.", minimum=0)
    min_p: float = option(0.0, "Only tokens this likely relative to the likeliest.", minimum=0, maximum=1)
    max_new_tokens: int = option(512, "Longest completion, in tokens.", minimum=1)
    seed: int = option(0, "Attempt k of a question depends on this, its id and k alone.")
    decontaminate: tuple[str, ...] = source_option(None, "Leave out questions that this test set holds: any source.")
    shard: str | None = option(None, "i/n with i from 0: every n-th question only; see `tools-traces merge`.")
    question_key: str | None = option(None, "Field that holds the question; dots reach into objects.")
    answer_key: str | None = option(None, "Field that holds the answer; dots reach into objects.")
    # Other engines sample other tokens, so here the choice decides the result.
    engine: Literal["transformers", "vllm", "http", "ray"] = option(
        "transformers", "What draws the completions. ray: workers on a cluster or here, each with --ray-engine."
    )
    ray_engine: Literal["transformers", "vllm"] = option("transformers", "What the workers of --engine ray draw with.")
    record_hidden: bool = option(
        False,
        "With --engine vllm --emit graded: keep the hidden states at the ends of steps while generating, as the "
        "shards NAME-hidden that tools-scorer train reads.",
    )
    hidden_layers: str = option(
        "-1", "Hidden states to record, comma-separated: 0 is the embedding, k the output of block k, -1 the last."
    )
    hidden_delimiter: str = option("\\n\\n", "What ends a step of the recorded states: '\\n\\n', '\\n' or 'sentence'.")
    hidden_dtype: Literal["fp16", "bf16", "fp32"] = option("fp16", "Number format of the recorded states.")
    dry_run: bool = option(False, "Say what would be drawn, from the data alone, and stop.", identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.shard_of, self.source, self.layer_numbers
        check_served(self)
        parse_delimiter(self.hidden_delimiter)
        if self.record_hidden:
            self._check_recording()

    def _check_recording(self) -> None:
        if self.engine != "vllm":
            raise ToolError(
                f"--record-hidden works with --engine vllm, not {self.engine}; there, run `tools-scorer preprocess` "
                "and `tools-scorer extract` on the graded attempts"
            )
        if self.emit != "graded" or not self.token_ids:
            raise ToolError("--record-hidden is of every attempt, as it was drawn; add --emit graded --token-ids")
        if self.shard is not None:
            raise ToolError("--record-hidden: merge joins no states; leave --shard out, or extract after the merge")
        if self.min_p:
            raise ToolError(f"--min-p {self.min_p}: vLLM cannot keep states with it; use --top-p, or extract later")

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        return parse_layers(self.hidden_layers, "--hidden-layers")

    def identity(self) -> dict[str, Any]:
        """What decides the result: by whom questions are shared out does not, nor how states would be recorded."""
        found = super().identity()
        if not self.record_hidden:
            found = {k: v for k, v in found.items() if k != "record_hidden" and not k.startswith("hidden_")}
        ray_engine = found.pop("ray_engine")
        return found | {"engine": ray_engine if self.engine == "ray" else self.engine}

    @property
    def shard_of(self) -> tuple[int, int]:
        """(i, n); (0, 1) is the whole."""
        return parse_shard(self.shard)

    @property
    def source(self) -> Sources:
        """The data's addresses with their split."""
        return Sources(self._with_split(address) for address in self.data)

    def _with_split(self, address: str) -> str:
        if self.dataset_split is None:
            return address
        parts = urlsplit(address)
        if "://" not in address:
            raise ToolError(f"--dataset-split {self.dataset_split}: {address} is a file and has no splits")
        named = parse_qs(parts.query).get("split", [self.dataset_split])[0]
        if named != self.dataset_split:
            raise ToolError(f"--dataset-split {self.dataset_split}: {address} names the split '{named}'")
        if "split" in parse_qs(parts.query):
            return address
        return f"{address}{'&' if parts.query else '?'}split={self.dataset_split}"


@dataclass(frozen=True)
class MergeConfig(RunConfig):
    """Put the shards of one run together."""

    TOOL: ClassVar[str] = "traces"

    runs: tuple[str, ...] = option((), "The shards' run directories.")
