"""Options of tools-traces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from tools_shared.config import Sources, option, parse_shard, source_option
from tools_shared.engines import PaidConfig, check_served
from tools_shared.errors import ToolError
from tools_shared.judging.labels import LabelConfig
from tools_shared.processes.ray_map import RayConfig
from tools_shared.pruning.options import PruneConfig, check_prunes
from tools_shared.runs import RunConfig, check_file_name
from tools_shared.sources import allowance
from tools_shared.states.steps import parse_delimiter, parse_layers

DEFAULT_SIZE = 2048


@dataclass(frozen=True)
class OutputConfig(RunConfig):
    """Which of the graded attempts become rows, and where they go."""

    TOOL: ClassVar[str] = "traces"
    PANEL: ClassVar[str] = "Output"

    output_file: str = option("traces.jsonl", "Name of the JSONL file in the output directory.")
    keep: str = option(
        "first",
        "Which verified traces become rows. first, shortest, all, k:N (the first N), or diverse (one for each list of "
        "equations).",
    )
    accept: str | None = option(
        None,
        "Which traces are verified, by a reward instead of the right answer: REWARD>=X, such as judge:r.yaml>=0.7 or "
        "code:python>=1; the rows are then prompt and response.",
    )
    fallback: Literal["original", "skip"] = option(
        "original", "Row of a question without a verified trace: the solution in the data, or none."
    )
    dedup: bool = option(False, "Leave out rows that repeat the question and reasoning of an earlier row.")
    min_pass_rate: float = option(0.0, "Leave out questions whose pass rate is below this.", minimum=0, maximum=1)
    max_pass_rate: float = option(1.0, "Leave out questions whose pass rate is above this.", minimum=0, maximum=1)
    emit: Literal["rows", "graded"] = option(
        "rows", "graded: also write every attempt, right or wrong, to NAME.graded.jsonl."
    )
    token_ids: bool = option(False, "Write each response's tokens into its row.")
    scorer: str | None = option(
        None,
        "Score verified traces with this run of tools-scorer train, or model:PATH; --min-score drops the lowest.",
    )
    min_score: float | None = option(
        None, "Leave out traces whose mean step probability is lower (with --scorer).", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.keep_count
        if (self.scorer is None) != (self.min_score is None):
            raise ToolError("--scorer and --min-score belong together; give both or none")
        if self.min_pass_rate > self.max_pass_rate:
            raise ToolError(f"--min-pass-rate {self.min_pass_rate} is above --max-pass-rate {self.max_pass_rate}")
        if self.acceptance is not None and not self.acceptance[0]:
            raise ToolError(f"--accept {self.accept}: names no reward; such as judge:rubric.yaml>=0.7")
        check_file_name("--output-file", self.output_file, taken=("attempts.jsonl",))

    @property
    def acceptance(self) -> tuple[str, float] | None:
        """The reward of --accept and the least that it has to give; raises ToolError for another form."""
        if self.accept is None:
            return None
        reward, _, least = self.accept.rpartition(">=")
        try:
            return reward.strip(), float(least)
        except ValueError:
            raise ToolError(f"--accept {self.accept}: write REWARD>=X, such as judge:rubric.yaml>=0.7") from None

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
class TracesConfig(OutputConfig, PaidConfig, RayConfig, PruneConfig):
    """Verified traces of one model on one data set."""

    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "num_samples",
        "model",
        "max_attempts",
        "temperature",
        "max_new_tokens",
        "keep",
        "fallback",
        "output_file",
        "output_dir",
        "overwrite",
        "dry_run",
    )

    model: str = option(
        "demo",
        "Hub id, folder (model or adapter), run directory, or 'demo'.",
        aliases=("grpo_model", "base_model", "model_path"),
        panel="Model",
    )
    data: tuple[str, ...] = source_option(
        f"demo://problems?size={DEFAULT_SIZE}",
        "Problems: any source.",
        aliases=("train_path", "train_file"),
        panel="Data",
    )
    dataset_split: str | None = option(None, "Split to read, where the address names a set with splits.", panel="Data")
    num_samples: int | None = option(None, "Use the first N problems. Default: all.", minimum=1, panel="Data")
    max_attempts: int = option(5, "Most completions per question.", minimum=1, panel="Sampling")
    batch_size: int = option(32, "Completions sampled at a time.", minimum=1, panel="Sampling")
    temperature: float = option(0.8, "Sampling temperature.", minimum=0, panel="Sampling")
    top_p: float = option(1.0, "Nucleus sampling probability (1: off).", minimum=0.0001, maximum=1, panel="Sampling")
    top_k: int = option(0, "Sample from the k most likely tokens (0: off).", minimum=0, panel="Sampling")
    min_p: float = option(
        0.0,
        "Least token probability, relative to the most likely token (0: off).",
        minimum=0,
        maximum=1,
        panel="Sampling",
    )
    max_new_tokens: int = option(512, "Longest completion, in tokens.", minimum=1, panel="Sampling")
    seed: int = option(0, "Attempt k at a question depends only on the seed, its id and k.", panel="Sampling")
    decontaminate: tuple[str, ...] = source_option(
        None, "Leave out questions of this test set: any source.", panel="Data"
    )
    shard: str | None = option(
        None, "i/n with i from 0: use every n-th question only; see `tools-traces merge`.", panel="Data"
    )
    question_key: str | None = option(None, "Field that holds the question; dots reach into objects.", panel="Data")
    answer_key: str | None = option(None, "Field that holds the answer; dots reach into objects.", panel="Data")
    # Other engines sample other tokens, so here the choice decides the result.
    engine: Literal["transformers", "vllm", "http", "ray"] = option(
        "transformers",
        "What samples the completions. http: a server; ray: workers on a cluster or this machine, with --ray-engine.",
        panel="Sampling",
    )
    ray_engine: Literal["transformers", "vllm"] = option(
        "transformers", "Engine of the workers of --engine ray.", panel="Ray"
    )
    record_hidden: bool = option(
        False,
        "Record hidden states at the ends of steps while generating, in the shards NAME-hidden that tools-scorer train "
        "reads. Needs --engine transformers or vllm, --emit graded and --token-ids.",
        panel="Output",
    )
    hidden_layers: str = option(
        "-1",
        "Layers to record, comma-separated: 0 is the embedding, k the output of block k, -1 the last.",
        panel="Output",
    )
    hidden_delimiter: str = option(
        "\\n\\n", "What ends a step of the recorded states: '\\n\\n', '\\n' or 'sentence'.", panel="Output"
    )
    hidden_dtype: Literal["fp32", "bf16", "fp16"] = option(
        "fp16", "Number format of the recorded states.", panel="Output"
    )
    dry_run: bool = option(False, "Print what would be sampled, then stop.", identity=False, panel="Run")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.shard_of, self.source, self.layer_numbers
        check_served(self)
        check_prunes(self.prune_rules, self.engine)
        self._check_paid()
        parse_delimiter(self.hidden_delimiter)
        if self.record_hidden:
            self._check_recording()

    def _check_paid(self) -> None:
        if self.engine != "http" and (self.price_in, self.price_out, self.budget) != (None, None, None):
            raise ToolError("--price-in, --price-out and --budget are about requests to a server; add --engine http")

    def _check_recording(self) -> None:
        if self.engine not in ("transformers", "vllm"):
            raise ToolError(
                f"--record-hidden works with --engine transformers and vllm, not {self.engine}; there, run "
                "`tools-scorer preprocess` and `tools-scorer extract` on the graded attempts"
            )
        if self.emit != "graded" or not self.token_ids:
            raise ToolError(
                "--record-hidden keeps the states of every attempt as it was sampled; add --emit graded --token-ids"
            )
        if self.shard is not None:
            raise ToolError("--record-hidden: merge joins no states; leave --shard out, or extract after the merge")
        if self.prune:
            raise ToolError("--record-hidden: records the states of whole traces; leave --prune out")
        if self.min_p and self.engine == "vllm":
            raise ToolError(f"--min-p {self.min_p}: vLLM cannot keep states with it; use --top-p, or extract later")

    @property
    def layer_numbers(self) -> tuple[int, ...]:
        return parse_layers(self.hidden_layers, "--hidden-layers")

    def identity(self) -> dict[str, Any]:
        """What decides the result: by whom questions are shared out does not, nor how states would be recorded."""
        found = super().identity()
        if not self.prune:
            del found["prune"]
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
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    runs: tuple[str, ...] = option((), "The shards' run directories.")


@dataclass(frozen=True)
class VerdictsConfig(LabelConfig, RunConfig):
    """Make the rows that a judge is trained on."""

    TOOL: ClassVar[str] = "traces"
    PANEL: ClassVar[str] = "Output"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    rubric: str = option("", "The rubric's YAML file.")
    held_out: float = option(
        0.3, "Share of the groups that is held out, for tools-bench agreement.", minimum=0, maximum=0.9
    )
    balance: bool = option(False, "Repeat training rows until each verdict is as frequent as the most frequent one.")
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False, panel="Data")
    seed: int = option(0, "Seed of the split and of the order of the rows.")

    def __post_init__(self) -> None:
        super().__post_init__()
        allowance.allowed_of(self.max_rejected, 1)
