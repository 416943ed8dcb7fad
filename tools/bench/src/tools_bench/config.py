"""Options of tools-bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from tools_bench.grading.metrics import check_metric
from tools_shared.addresses import ADDRESS, BODY, VARIABLE
from tools_shared.config import Config, option
from tools_shared.engines import EngineConfig, check_address, check_served
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.files.outputs import OverwriteConfig
from tools_shared.runs import RunConfig, check_file_name
from tools_shared.sources import allowance


@dataclass(frozen=True)
class EvaluateConfig(EvalConfig, EngineConfig, RunConfig):
    """Evaluate one model on one test set."""

    TOOL: ClassVar[str] = "bench"
    ALIASES: ClassVar[Mapping[str, str]] = {"eval_path": "eval_file", "base_model": "model_path"}

    model_path: str = option(
        "demo", "Hub id, model folder, adapter folder, run directory, or 'demo'.", flags=("--base-model",)
    )
    output_file: str | None = option(None, "Also write the per-example CSV under this name in the output directory.")
    samples: int | None = option(
        None, "Also draw so many completions a problem: pass@k, majority@k, and with --scorer its votes.", minimum=2
    )
    sample_temperature: float | None = option(
        None, "Temperature of those samples. Default: that of --eval-temperature, else 0.8.", minimum=0.01
    )
    scorer: str | None = option(
        None, "A run of tools-scorer train: weighted vote and best-of-k over --samples beside the majority."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_file is not None:
            check_file_name("--output-file", self.output_file, taken=("samples.jsonl",))
        if self.scorer is not None and self.samples is None:
            raise ToolError("--scorer votes among samples; give --samples K too")
        check_served(self)


@dataclass(frozen=True)
class VerdictConfig(Config):
    """The options of every command that judges a difference."""

    alpha: float = option(
        0.05, "Chance of calling any difference real when none is.", minimum=0.0001, maximum=0.5, identity=False
    )
    margin: float = option(
        2.0, "Differences smaller than this, in points, count as equivalent.", minimum=0, maximum=100, identity=False
    )
    fail_on: tuple[str, ...] = option(
        (), "METRIC:POINTS: exit 4 when the metric is worse by more, and not by chance. Repeatable.", identity=False
    )
    allow_mismatch: bool = option(
        False, "Compare although data, prompts or sampling differ; what differs is said.", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gates()

    def gates(self) -> dict[str, float]:
        """`--fail-on` by metric; raises ToolError for what is not METRIC:POINTS with a metric that there is."""
        found = {}
        for words in self.fail_on:
            name, _, points = words.partition(":")
            check_metric(name, f"--fail-on {words}")
            try:
                found[name] = float(points or 0)
            except ValueError:
                raise ToolError(f"--fail-on {words}: write METRIC:POINTS, such as accuracy:2") from None
            if not 0 <= found[name] <= 100:
                raise ToolError(f"--fail-on {words}: points are between 0 and 100")
        return found


@dataclass(frozen=True)
class CompareConfig(VerdictConfig, RunConfig):
    """Compare evaluations of the same test problems, or two benchmark runs."""

    TOOL: ClassVar[str] = "bench"

    baseline: str | None = option(None, "The run that the others are compared with. Default: the first.")
    confidence: float = option(0.95, "Confidence of the intervals.", minimum=0.5, maximum=0.9999)
    title: str | None = option(None, "Title of the chart.")
    runs: tuple[str, ...] = option((), "Run directories, or per-example CSV files.")


@dataclass(frozen=True)
class BudgetConfig(RunConfig):
    """Accuracy against the number of training rows."""

    TOOL: ClassVar[str] = "bench"

    start: str | None = option(None, "The evaluated run that all RUNS were trained from; drawn as a line.")
    confidence: float = option(0.95, "Confidence of the intervals.", minimum=0.5, maximum=0.9999)
    title: str | None = option(None, "Title of the figure.")
    runs: tuple[str, ...] = option((), "Run directories of trained and evaluated models.")


@dataclass(frozen=True)
class BenchConfig(EngineConfig, VerdictConfig, RunConfig):
    """Benchmark a model or an endpoint on a suite."""

    TOOL: ClassVar[str] = "bench"
    ALIASES: ClassVar[Mapping[str, str]] = {"base_model": "model_path", "batch_size": "concurrency"}

    model_path: str | None = option(
        None, "A model that is here: hub id, folder, run directory, or 'demo'.", flags=("--base-model",)
    )
    endpoint: str | None = option(
        None,
        "A server: the address of an OpenAI-compatible one (http://host:8000/v1), of a tutor (.../chat), or see --api.",
        identity=False,
        secret=ADDRESS,
    )
    model_name: str | None = option(None, "Names the results, and the model on the server.")
    suite: str | None = option(
        None,
        "quick, standard, comprehensive, or a YAML file. Default: --compare's, else --datasets alone, else standard.",
    )
    api: Literal["auto", "openai", "chat", "template"] = option(
        "auto",
        "How the endpoint is spoken to. auto: chat (the tutor API) when it ends with /chat, else openai, or "
        "Ollama's own API when it ends with /api/chat.",
    )
    request_template: str | None = option(
        None, "JSON, or a file of it, with {prompt}, {system}, {question}, {mode}, {grade}, {model}.", secret=BODY
    )
    response_path: str | None = option(None, "Where the text stands in a reply: choices.0.message.content")
    datasets: tuple[str, ...] = option(
        (),
        "Data of your own: PATH, KIND=PATH (math, match, tutor, safety), or TASK=PATH of a --suite. Repeatable.",
    )
    question_key: str | None = option(None, "Field of --datasets (else: of mathematics) that holds the question.")
    answer_key: str | None = option(None, "Field of --datasets (else: of mathematics) that holds the answer.")
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False)
    limit: int | None = option(None, "At most so many items of each task, the first ones.", minimum=1)
    ids: str | None = option(None, "Only these items: ids with commas between, or a file with one a line.")
    samples: int = option(1, "Draws for each item; from 2 on also pass@k and majority@k.", minimum=1)
    temperature: float = option(0.0, "Sampling temperature; 0 is greedy.", minimum=0)
    top_p: float = option(1.0, "Nucleus sampling.", minimum=0.0001, maximum=1)
    max_new_tokens: int = option(1024, "Longest completion, in tokens.", flags=("--max-tokens",), minimum=1)
    seed: int = option(0, "Seed of everything that is drawn.")
    concurrency: int = option(
        16, "Requests under way at the same time.", flags=("--batch-size",), minimum=1, identity=False
    )
    max_error_rate: float = option(
        0.1, "Share of failed requests that stops the run (exit 3).", minimum=0, maximum=1, identity=False
    )
    price_in: float = option(0.0, "Price of a million prompt tokens.", minimum=0, identity=False)
    price_out: float = option(0.0, "Price of a million completion tokens.", minimum=0, identity=False)
    budget: float | None = option(None, "Stop before spending more (exit 3).", minimum=0, identity=False)
    dry_run: bool = option(False, "Say what would be asked and the most it can cost; ask nothing.", identity=False)
    cache: bool = option(
        True, "Use replies that this endpoint gave to this model name before (.cache in --output-dir).", identity=False
    )
    train_data: str | None = option(
        None, "Matches of tools-dedup (OUTPUT.matches.jsonl): also report the items that the training data lacks."
    )
    judge_endpoint: str | None = option(
        None, "An OpenAI-compatible server whose model judges the replies by rubric.", identity=False, secret=ADDRESS
    )
    judge_model: str | None = option(None, "The judge's name on that server.")
    judge_api_key_env: str | None = option(
        None,
        "Environment variable that holds the judge's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
    )
    judge_schema: bool = option(
        False, "Have the judge's server force the rubric's form on its replies (response_format: json_schema)."
    )
    compare: str | None = option(
        None, "A baseline: run directory, or its benchmark_results.json (also the old format).", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.judge_endpoint)
        allowance.allowed_of(self.max_rejected, 1)
        if self.endpoint is not None and self.model_path is not None:
            raise ToolError("give --endpoint (a server) or --model-path (a model that is here), not both")
        if (self.judge_endpoint is None) != (self.judge_model is None):
            raise ToolError("--judge-endpoint and --judge-model belong together; give both or none")
        if self.judge_endpoint is None and (self.judge_schema or self.judge_api_key_env is not None):
            raise ToolError("--judge-schema and --judge-api-key-env are about a judge; give --judge-endpoint too")
        if self.fail_on and self.compare is None:
            raise ToolError("--fail-on judges a difference; give --compare BASELINE too")
        if self.budget is not None and not (self.price_in or self.price_out):
            raise ToolError("--budget is reckoned from prices; give --price-in and --price-out too")


@dataclass(frozen=True)
class RescoreConfig(RunConfig):
    """Grade a run's stored responses again."""

    TOOL: ClassVar[str] = "bench"

    run: str = option("", "The run directory.")


@dataclass(frozen=True)
class DataConfig(Config):
    """Fetch or verify the data of suites."""

    TOOL: ClassVar[str] = "bench"

    suite: str = option("comprehensive", "The suite whose data is wanted.")


@dataclass(frozen=True)
class ReportConfig(OverwriteConfig):
    """Make the dashboard."""

    TOOL: ClassVar[str] = "bench"

    output_file: str = option("report.html", "Where the HTML file goes.")
    title: str = option("Benchmark report", "Its title.")
    baseline: str | None = option(None, "Name of the run that flips are counted against. Default: the first.")
    max_examples: int = option(
        2000, "Most examples of one run in the file; the first are kept, and it says so.", minimum=1
    )
    folders: tuple[str, ...] = option((), "Run directories, or folders that hold them.")


@dataclass(frozen=True)
class TagConfig(OverwriteConfig):
    """Tag problems with curriculum topics and a grade band."""

    TOOL: ClassVar[str] = "bench"

    input: str | None = option(None, "Problems: any source.")
    output: str | None = option(None, "JSONL to write: the rows with topic_tags, grade_band and evidence added.")
    question: str | None = option(None, "One problem's text; its tags go to stdout.")
    question_key: str | None = option(None, "Field that holds the problem. Default: question, problem or prompt.")
    grade: str | None = option(None, "The grade of all problems (K, 1 ... 12), where it is known.")
