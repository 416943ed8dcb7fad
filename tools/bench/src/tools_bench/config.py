"""Options of tools-bench."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from tools_bench.grading.metrics import check_metric
from tools_shared.addresses import ADDRESS, BODY, VARIABLE
from tools_shared.config import Config, option
from tools_shared.engines import EngineConfig, PaidConfig, check_address, check_served
from tools_shared.errors import ToolError
from tools_shared.evaluation import EvalConfig
from tools_shared.files.outputs import OverwriteConfig
from tools_shared.judging.labels import LabelConfig
from tools_shared.pruning.options import PruneConfig, check_prunes
from tools_shared.runs import RunConfig, check_file_name
from tools_shared.sources import allowance


@dataclass(frozen=True)
class EvaluateConfig(EvalConfig, EngineConfig, PruneConfig, RunConfig):
    """Evaluate one model on one test set."""

    TOOL: ClassVar[str] = "bench"
    FIRST: ClassVar[tuple[str, ...]] = (
        "eval_data",
        "eval_samples",
        "question_key",
        "answer_key",
        "model",
        "profile",
        "dtype",
        "eval_max_new_tokens",
        "eval_temperature",
        "samples",
        "engine",
        "endpoint",
        "model_name",
        "output_dir",
        "output_file",
        "overwrite",
    )

    model: str = option(
        "demo",
        "Hub id, folder (model or adapter), run directory, or 'demo'.",
        aliases=("model_path", "base_model"),
        panel="Model",
    )
    output_file: str | None = option(None, "Also write the per-example CSV to this file name in the output directory.")
    samples: int | None = option(
        None, "Also sample K completions per problem, for pass@k and majority@k.", minimum=2, panel="Evaluation"
    )
    sample_temperature: float | None = option(
        None,
        "Temperature of --samples. Default: --eval-temperature, or 0.8 if that is 0.",
        minimum=0.01,
        panel="Evaluation",
    )
    scorer: str | None = option(
        None,
        "Add weighted vote and best-of-k by this run of tools-scorer train, or model:PATH, over --samples.",
        panel="Evaluation",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_file is not None:
            check_file_name("--output-file", self.output_file, taken=("samples.jsonl",))
        if self.scorer is not None and self.samples is None:
            raise ToolError("--scorer votes among samples; give --samples K too")
        if self.prune and self.samples is None:
            raise ToolError("--prune stops samples early; give --samples K too")
        check_prunes(self.prune_rules, self.engine)
        check_served(self)


@dataclass(frozen=True)
class VerdictConfig(Config):
    """The options of every command that judges a difference."""

    PANEL: ClassVar[str] = "Comparison"

    alpha: float = option(
        0.05, "Significance level, over all differences together.", minimum=0.0001, maximum=0.5, identity=False
    )
    margin: float = option(
        2.0, "Differences below this many points count as equivalent.", minimum=0, maximum=100, identity=False
    )
    fail_on: tuple[str, ...] = option(
        (), "METRIC:POINTS: exit 4 if the metric is significantly worse, by more points. Repeatable.", identity=False
    )
    allow_mismatch: bool = option(
        False, "Compare runs with different data, prompts or sampling; the differences are shown.", identity=False
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
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    baseline: str | None = option(None, "Run to compare the others with. Default: the first.")
    confidence: float = option(0.95, "Confidence of the intervals.", minimum=0.5, maximum=0.9999)
    title: str | None = option(None, "Title of the chart.")
    runs: tuple[str, ...] = option((), "Run directories, or per-example CSV files.")


@dataclass(frozen=True)
class BudgetConfig(RunConfig):
    """Accuracy against the number of training rows."""

    TOOL: ClassVar[str] = "bench"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    start: str | None = option(None, "The evaluated run that all RUNS were trained from; drawn as a line.")
    confidence: float = option(0.95, "Confidence of the intervals.", minimum=0.5, maximum=0.9999)
    title: str | None = option(None, "Title of the figure.")
    runs: tuple[str, ...] = option((), "Run directories of trained and evaluated models.")


@dataclass(frozen=True)
class BenchConfig(PaidConfig, VerdictConfig, RunConfig):
    """Benchmark a model or an endpoint on a suite."""

    TOOL: ClassVar[str] = "bench"
    FIRST: ClassVar[tuple[str, ...]] = (
        "suite",
        "data",
        "limit",
        "model",
        "endpoint",
        "model_name",
        "temperature",
        "max_new_tokens",
        "compare",
        "output_dir",
        "overwrite",
        "dry_run",
    )

    model: str | None = option(
        None,
        "A local model: hub id, folder, run directory, or 'demo'.",
        aliases=("model_path", "base_model"),
        panel="Model",
    )
    endpoint: str | None = option(
        None,
        "A server, instead of --model: OpenAI-compatible (http://host:8000/v1), a tutor (.../chat), or see --api.",
        identity=False,
        secret=ADDRESS,
        panel="Server",
    )
    model_name: str | None = option(None, "Name of the results, and of the model on the server.", panel="Server")
    suite: str | None = option(
        None,
        "A suite by name (quick, standard, aime25, mmlu_pro ...; tools-bench data list), or a YAML file. The default "
        "is that of --compare, else only --data, else standard.",
        panel="Data",
    )
    api: Literal["auto", "openai", "chat", "template"] = option(
        "auto",
        "API of the endpoint. auto: chat (the tutor API) if it ends with /chat, Ollama's own if it ends with "
        "/api/chat, else openai.",
        panel="Server",
    )
    request_template: str | None = option(
        None,
        "JSON body, or a file of it, with {prompt}, {system}, {question}, {mode}, {grade}, {model}.",
        secret=BODY,
        panel="Server",
    )
    response_path: str | None = option(None, "Path to the text in a reply: choices.0.message.content", panel="Server")
    data: tuple[str, ...] = option(
        (),
        "Your own items: PATH, KIND=PATH (math, match, choice, instructions, tutor, safety), or TASK=PATH of --suite. "
        "Repeatable.",
        aliases=("datasets",),
        panel="Data",
    )
    question_key: str | None = option(
        None, "Field of --data that holds the question (without --data: of mathematics).", panel="Data"
    )
    answer_key: str | None = option(
        None, "Field of --data that holds the answer (without --data: of mathematics).", panel="Data"
    )
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False, panel="Data")
    limit: int | None = option(None, "Use the first N items of each task. Default: all.", minimum=1, panel="Data")
    ids: str | None = option(
        None, "Only these items: comma-separated ids, or a file with one id per line.", panel="Data"
    )
    samples: int = option(
        1, "Completions per item; 2 or more also give pass@k and majority@k.", minimum=1, panel="Sampling"
    )
    temperature: float = option(0.0, "Sampling temperature; 0 is greedy.", minimum=0, panel="Sampling")
    choice_by: Literal["generation", "letters", "texts"] = option(
        "generation",
        "Multiple choice: by the letter of a written reply, or by log-probability: of the letters, or of the options' "
        "texts (per character).",
        panel="Sampling",
    )
    top_p: float = option(1.0, "Nucleus sampling probability (1: off).", minimum=0.0001, maximum=1, panel="Sampling")
    max_new_tokens: int = option(1024, "Longest completion, in tokens.", minimum=1, panel="Sampling")
    seed: int = option(0, "Seed of everything that is sampled.", panel="Sampling")
    concurrency: int = option(
        16, "Requests in flight at a time.", aliases=("batch_size",), minimum=1, identity=False, panel="Sampling"
    )
    max_error_rate: float = option(
        0.1,
        "Share of failed requests that stops the run (exit 3).",
        minimum=0,
        maximum=1,
        identity=False,
        panel="Server",
    )
    dry_run: bool = option(
        False, "Print the requests that would be sent and their highest cost, then stop.", identity=False
    )
    train_data: str | None = option(
        None,
        "Also report results on the items that are not in the training data: training rows (checked by tools-dedup), "
        "its OUTPUT.matches.jsonl, or 'lineage' (the data of --model's run and those before it).",
        panel="Evaluation",
    )
    judge_endpoint: str | None = option(
        None,
        "OpenAI-compatible server with a model that judges the replies by rubric.",
        identity=False,
        secret=ADDRESS,
        panel="Judge",
    )
    judge_model: str | None = option(None, "The judge's name on that server.", panel="Judge")
    judge_api_key_env: str | None = option(
        None,
        "Environment variable with the judge's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
        panel="Judge",
    )
    judge_schema: bool = option(
        False,
        "Have the server enforce the rubric's format on the judge (response_format: json_schema).",
        panel="Judge",
    )
    compare: str | None = option(
        None,
        "Baseline: a run directory, or its benchmark_results.json.",
        identity=False,
        panel="Comparison",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.judge_endpoint)
        allowance.allowed_of(self.max_rejected, 1)
        if self.endpoint is not None and self.model is not None:
            raise ToolError("give --endpoint (a server) or --model (a local model), not both")
        if (self.judge_endpoint is None) != (self.judge_model is None):
            raise ToolError("--judge-endpoint and --judge-model belong together; give both or none")
        if self.judge_endpoint is None and (self.judge_schema or self.judge_api_key_env is not None):
            raise ToolError("--judge-schema and --judge-api-key-env are about a judge; give --judge-endpoint too")
        if self.fail_on and self.compare is None:
            raise ToolError("--fail-on judges a difference; give --compare BASELINE too")


@dataclass(frozen=True)
class DoctorConfig(EngineConfig):
    """Ask a server one question and look at the reply."""

    TOOL: ClassVar[str] = "bench"
    READS_ROWS: ClassVar[bool] = False
    HIDDEN: ClassVar[tuple[str, ...]] = (
        "engine",
        "dtype",
        "device",
        "tensor_parallel",
        "data_parallel",
        "max_model_len",
        "gpu_memory_utilization",
        "max_retries",
        "rate_limit",
    )

    endpoint: str | None = option(
        None, "The server: an OpenAI-compatible API (http://host:8000).", identity=False, secret=ADDRESS, panel="Server"
    )
    question: str = option(
        "A ferry makes 6 trips a day with 35 passengers each. How many passengers is that in a day?",
        "The question to ask.",
    )
    max_new_tokens: int = option(1024, "Longest completion, in tokens.", minimum=1, panel="Sampling")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.endpoint is None:
            raise ToolError("--endpoint is missing; such as http://localhost:8000")


@dataclass(frozen=True)
class SavingsConfig(RunConfig):
    """What stopping traces early would have saved."""

    TOOL: ClassVar[str] = "bench"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    title: str = option("Accuracy against tokens", "Title of the report.")
    seed: int = option(0, "Seed of the intervals and of what is chosen at random.", minimum=0, maximum=2**32 - 1)
    run: str = option("", "The run directory.")


@dataclass(frozen=True)
class RescoreConfig(RunConfig):
    """Grade a run's stored responses again."""

    TOOL: ClassVar[str] = "bench"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    run: str = option("", "The run directory.")


@dataclass(frozen=True)
class AgreementConfig(LabelConfig, RunConfig):
    """Measure a judge against people's labels."""

    TOOL: ClassVar[str] = "bench"

    rubric: str = option("", "The rubric's YAML file.")
    model: str | None = option(
        None, "Judge with this run or model, loaded here, instead of the rubric's own.", panel="Model"
    )
    train_data: str | None = option(
        None, "Labelled replies on which the baselines (majority, length) are chosen. Default: those of --data."
    )
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        allowance.allowed_of(self.max_rejected, 1)


@dataclass(frozen=True)
class ImportConfig(RunConfig):
    """Read another harness's log as a run."""

    TOOL: ClassVar[str] = "bench"
    HIDDEN: ClassVar[tuple[str, ...]] = ("resume",)

    harness: Literal["lm-eval", "inspect", "lighteval", "nemo"] = option("lm-eval", "The harness that wrote the log.")
    path: str = option("", "The log: a file, or the folder that the harness wrote.")
    model_name: str | None = option(None, "Name of the run's model. Default: the log's.")


@dataclass(frozen=True)
class LogExportConfig(OverwriteConfig):
    """Write a run as another harness's log."""

    TOOL: ClassVar[str] = "bench"

    run: str = option("", "The run directory.")
    output_dir: str | None = option(None, "Folder of the files, one a task. Default: RUN-inspect.")


@dataclass(frozen=True)
class DataConfig(Config):
    """Fetch or verify the data of suites."""

    TOOL: ClassVar[str] = "bench"

    suite: str = option("comprehensive", "Suite whose data to fetch or verify.")


@dataclass(frozen=True)
class ReportConfig(OverwriteConfig):
    """Make the dashboard."""

    TOOL: ClassVar[str] = "bench"

    output_file: str = option("report.html", "Where the HTML file goes.")
    title: str = option("Benchmark report", "Title of the report.")
    baseline: str | None = option(None, "Name of the run that flips are counted against. Default: the first.")
    max_examples: int = option(
        2000, "Largest number of examples per run in the file; the first are kept, with a note.", minimum=1
    )
    folders: tuple[str, ...] = option((), "Run directories, or folders that hold them.")


@dataclass(frozen=True)
class TagConfig(OverwriteConfig):
    """Tag problems with curriculum topics and a grade band."""

    TOOL: ClassVar[str] = "bench"

    data: str | None = option(None, "Problems: any source.", aliases=("input",))
    output_file: str | None = option(
        None, "JSONL to write: the rows with topic_tags, grade_band and evidence added.", aliases=("output",)
    )
    question: str | None = option(None, "One problem's text; its tags go to stdout.")
    question_key: str | None = option(None, "Field that holds the problem. Default: question, problem or prompt.")
    grade: str | None = option(None, "Grade of all problems (K, 1 ... 12), if known.")
