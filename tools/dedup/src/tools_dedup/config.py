"""Options of tools-dedup run."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tools_shared.config import option, parse_shard, source_option
from tools_shared.errors import ToolError
from tools_shared.files.outputs import OverwriteConfig
from tools_shared.processes.ray_map import RayConfig

DEFAULT_MODEL = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_MODEL_THRESHOLD = 0.65


@dataclass(frozen=True)
class DedupConfig(OverwriteConfig, RayConfig):
    """Which rows are read, what they are compared by, and when one goes.

    Of the fields, all but the paths also hold for a call of `decontaminate` from Python.
    """

    TOOL: ClassVar[str] = "dedup"
    PANEL: ClassVar[str] = "Matching"
    FIRST: ClassVar[tuple[str, ...]] = (
        "data",
        "test_data",
        "text_key",
        "template",
        "model",
        "method",
        "threshold",
        "within",
        "output_path",
        "removed_path",
        "overwrite",
        "dry_run",
    )

    data: tuple[str, ...] = source_option(
        None,
        "Training rows: file, glob, '-', hf://owner/name?split=, demo://...",
        aliases=("train_path",),
        panel="Data",
    )
    test_data: tuple[str, ...] = option(
        (),
        "Test rows, PATH or NAME=PATH. Repeatable: one for each test set.",
        aliases=("test_path",),
        panel="Data",
    )
    output_path: str | None = option(None, "Kept rows, as JSON lines.", identity=False, panel="Output")
    removed_path: str | None = option(
        None, "Removed rows. Default: OUTPUT.removed.jsonl.", identity=False, panel="Output"
    )
    matches_path: str | None = option(
        None, "Every row with its nearest test row. Default: OUTPUT.matches.jsonl.", identity=False, panel="Output"
    )
    train_goal_key: str | None = option(None, "Dotted key of the goal in training rows. Default: goal.", panel="Data")
    train_steps_key: str | None = option(
        None, "Dotted key of the steps in training rows. Default: steps.", panel="Data"
    )
    train_topic_key: str | None = option(
        None, "Dotted key of a topic in training rows, copied into the matches.", panel="Data"
    )
    test_goal_key: str | None = option(None, "Dotted key of the goal in test rows. Default: goal.", panel="Data")
    test_steps_key: str | None = option(None, "Dotted key of the steps in test rows. Default: steps.", panel="Data")
    test_topic_key: str | None = option(
        None, "Dotted key of a topic in test rows, copied into the matches.", panel="Data"
    )
    text_key: str | None = option(
        None, "Compare this dotted key instead of goal and steps, in both sets.", panel="Data"
    )
    template: str | None = option(None, "Compare this text, such as '{question} {answer}', in both sets.", panel="Data")
    method: tuple[Literal["semantic", "lexical", "exact"], ...] = option(
        (), "How to find matches. Repeatable. Default: exact and semantic with a model, else exact and lexical."
    )
    threshold: float | None = option(
        None,
        "Remove rows with at least this cosine similarity. With --method lexical and without semantic it is a "
        "probability. Default: the model's calibrated rule.",
        minimum=-1,
        maximum=1,
    )
    model: str | None = option(
        None,
        f"Embedding model (sentence-transformers or model2vec): folder or hub id. Default: {DEFAULT_MODEL}, if "
        "reachable.",
    )
    domain: Literal["auto", "mathematics", "code", "text"] = option(
        "auto", "Kind of text that chooses the shipped rule. auto: the kind of most test texts."
    )
    calibration: str | None = option(None, "Calibration made by `tools-dedup calibrate`.")
    guard: tuple[Literal["numbers"], ...] = option((), "numbers: keep rows that differ from a test row in a number.")
    review: str | None = option(None, "LOW:HIGH: list rows with a score in this band for review.")
    verdicts: str | None = option(None, "Keep/remove verdicts saved from a report; they override the rule.")
    within: bool = option(False, "Also remove duplicates within the training set.")
    within_threshold: float | None = option(
        None,
        "As --threshold, for duplicates within the training set. Default: 0.9 for a probability, else --threshold.",
        minimum=-1,
        maximum=1,
    )
    keep: str = option("first", "Which duplicate to keep: first, longest, or the one with the largest value of a key.")
    top_k: int = option(5, "Candidates scored per row.", minimum=1, maximum=1000)
    output_format: Literal["same", "messages", "prompt-response", "rlvr"] = option(
        "same",
        "Format of the kept rows, other fields kept. rlvr: open-instruct's messages, ground_truth, dataset.",
        panel="Output",
    )
    long: Literal["truncate", "chunk"] = option(
        "truncate", "Texts beyond the model's limit: truncate them, or compare them in windows."
    )
    dtype: Literal["auto", "fp32", "bf16"] = option("auto", "Number format of the model. auto: bf16 where it is fast.")
    batch_size: int = option(64, "Most texts per batch.", minimum=1, identity=False)
    search: Literal["blocked", "faiss", "approximate"] = option(
        "blocked",
        "blocked and faiss are exact and give the same rows. approximate: for --within on millions of rows with a "
        "model; it may miss a duplicate.",
    )
    chunk_size: int = option(5000, "Rows per block of the search.", minimum=1, identity=False)
    device: Literal["auto", "cpu", "cuda"] = option("auto", "Device of the model.", identity=False)
    engine: Literal["local", "ray"] = option(
        "local",
        "Encode texts in this process, or in Ray workers (on the cluster at RAY_ADDRESS, or on this machine).",
        identity=False,
        panel="Ray",
    )
    cache_dir: str | None = option(
        None, "Folder of the vector cache. Default: ~/.cache/tools-dedup.", identity=False, panel="Output"
    )
    save_embeddings: str | None = option(
        None, "Write this run's vectors to this .npz file.", identity=False, panel="Output"
    )
    load_embeddings: str | None = option(
        None, "Read vectors from a file of --save-embeddings.", identity=False, panel="Output"
    )
    seed: int = option(42, "Seed of --max-train and --max-test.", minimum=0, panel="Data")
    max_train: int = option(0, "Use a random sample of N training rows (0: all).", minimum=0, panel="Data")
    max_test: int = option(0, "Use a random sample of N rows of each test set (0: all).", minimum=0, panel="Data")
    shard: str | None = option(
        None, "i/n with i from 0: only this part of the training rows; see `tools-dedup merge`.", panel="Data"
    )
    allow_incomplete_test: bool = option(
        False,
        "Continue although rows or files of a test set cannot be read; rows that repeat them are kept.",
        panel="Data",
    )
    strict: bool = option(False, "Fail if any row is rejected.", identity=False, panel="Data")
    max_rejected: int | None = option(
        None, "Fail if more rows than this are rejected.", minimum=0, identity=False, panel="Data"
    )
    dry_run: bool = option(False, "Do everything except write files.", identity=False, panel="Run")
    in_place: bool = option(False, "Allow the output to replace the training file.", identity=False, panel="Output")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.review_band, self.shard_of
        if self.text_key and self.template:
            raise ToolError("--text-key and --template exclude each other; give one")
        if self.template is not None:
            _check_template(self.template)
        if (self.text_key or self.template) and self._has_goal_keys:
            raise ToolError("--text-key and --template take the place of goal and steps; leave their keys out")
        if self.within and self.shard:
            raise ToolError("--within needs all rows at once; run it on the merged output, without --shard")
        if not self.within and (self.within_threshold is not None or self.keep != "first"):
            raise ToolError("--keep and --within-threshold serve --within; add it, or leave them out")
        if self.method == ("exact",) and (self.threshold is not None or self.guard or self.calibration):
            raise ToolError("--method exact has no score: leave --threshold, --guard and --calibration out")
        if self.search == "approximate" and not self.within:
            raise ToolError("--search approximate serves --within only; test sets are searched exactly, leave it out")
        if self.within and self.long == "chunk":
            raise ToolError("--long chunk compares with the test sets only; run --within in a second run")
        if self.save_embeddings and self.load_embeddings:
            raise ToolError("--save-embeddings and --load-embeddings exclude each other; give one")
        if (self.save_embeddings or self.load_embeddings) and self.long == "chunk":
            raise ToolError("--save-embeddings holds one vector a row; leave --long chunk out, the cache serves it")

    def identity(self) -> dict[str, Any]:
        """What decides the result: the two exact searches find the same rows, so their shards belong together."""
        found = super().identity()
        return found | {"search": "approximate" if self.search == "approximate" else "exact"}

    @property
    def _has_goal_keys(self) -> bool:
        return any((self.train_goal_key, self.train_steps_key, self.test_goal_key, self.test_steps_key))

    @property
    def review_band(self) -> tuple[float, float] | None:
        if self.review is None:
            return None
        try:
            low, high = (float(part) for part in self.review.split(":"))
        except ValueError:
            raise ToolError(f"--review is LOW:HIGH, such as 0.3:0.7, got '{self.review}'") from None
        if not (-1 <= low <= high <= 1) or math.isnan(low + high):
            raise ToolError(f"--review needs -1 <= LOW <= HIGH <= 1, got '{self.review}'")
        return low, high

    @property
    def shard_of(self) -> tuple[int, int]:
        """(i, n); (0, 1) is the whole."""
        return parse_shard(self.shard)

    def named_tests(self) -> dict[str, str]:
        """Test sets by name, in the order given: the name before `=`, else the file's own, with its folder's before it
        where two files have one name."""
        from tools_dedup.input.rows import named_source

        found = [named_source(given) for given in self.test_data]
        often = Counter(name for name, _ in found)
        named: dict[str, str] = {}
        for number, (given, (name, spec)) in enumerate(zip(self.test_data, found, strict=True), start=1):
            if often[name] > 1 and given == f"{name}={spec}":
                raise ToolError(f"--test-data {given}: {often[name]} test sets are called '{name}'; name them apart")
            folder = Path(spec).resolve().parent.name if often[name] > 1 and "://" not in spec else ""
            name = f"{folder}-{name}" if folder else name
            named[f"{name}-{number}" if name in named else name] = spec
        return named


def _check_template(template: str) -> None:
    from tools_dedup.input.contents import fields_of

    if not fields_of(template):
        raise ToolError(f"--template '{template}' names no field; write one in braces, such as '{{question}}'")
