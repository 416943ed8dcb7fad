"""Evaluating a model on problems with checkable answers: the same way after training and from `tools-bench`.

Strict accuracy asks for the right answer inside the profile's tags; lenient accuracy for the right answer anywhere.
Every rate carries its 95 % Wilson interval and its n.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from tools_shared import processes
from tools_shared.answers import Status, judge
from tools_shared.config import option, source_option
from tools_shared.console import progress, say
from tools_shared.engines import (
    Completion,
    Engine,
    LocalEngineConfig,
    SamplingParams,
    check_engine,
    open_engine,
    prompts_of,
)
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, csv_cells
from tools_shared.models import Loaded, ModelRef, resolve
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_shared.runs import Draft
from tools_shared.runs.card import show_metric
from tools_shared.runs.lineage import undeduplicated, warning
from tools_shared.sources import Collected, allowance, read_problems
from tools_shared.stats import wilson

DEMO_TEST = "demo://problems?split=test&size=512&seed=1"
"""Seed 1: the demo's settings were chosen by looking at the questions of seed 0."""

COLUMNS = (
    "question",
    "labeled_cot",
    "labeled_answer",
    "generated_text",
    "extracted_thinking",
    "extracted_answer",
    "correct",
    "id",
    "verdict",
    "method",
    "lenient_answer",
    "lenient_correct",
    "well_formed",
    "finish_reason",
    "n_tokens",
)
"""The columns of the per-example CSV; the first seven are those that users' notebooks read."""

READ = {"id", "question", "labeled_answer", "correct", "lenient_correct"}
"""The columns that a file must have to be read back."""

RATES = {
    "accuracy": "correct",
    "accuracy_lenient": "lenient_correct",
    "thinking_proportion": "has_thinking",
    "answer_proportion": "has_answer",
    "truncated_proportion": "truncated",
}


@dataclass(frozen=True)
class EvalConfig(LocalEngineConfig):
    """The options of every command that evaluates."""

    PANEL: ClassVar[str] = "Evaluation"

    eval_data: tuple[str, ...] = source_option(
        DEMO_TEST, "Test problems: any source.", aliases=("eval_file", "eval_path")
    )
    eval_samples: int | None = option(
        None, "Use the first N test problems. Default: all.", env="EVAL_SAMPLES", minimum=1
    )
    eval_max_new_tokens: int = option(512, "Longest completion in evaluation, in tokens.", minimum=1)
    eval_temperature: float = option(0.0, "Sampling temperature in evaluation; 0 is greedy.", minimum=0)
    question_key: str | None = option(None, "Field that holds the question; dots reach into objects.", panel="Data")
    answer_key: str | None = option(None, "Field that holds the answer; dots reach into objects.", panel="Data")
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False, panel="Data")
    seed: int = option(0, "Seed of everything that is sampled.", minimum=0, maximum=2**32 - 1, panel="Run")

    def __post_init__(self) -> None:
        super().__post_init__()
        allowance.allowed_of(self.max_rejected, 1)


@dataclass(frozen=True)
class Graded:
    """One test problem with the model's completion, taken apart and graded."""

    problem: Problem
    completion: Completion
    thinking: str | None
    answer: str | None
    verdict: str
    method: str
    well_formed: bool
    lenient_answer: str | None
    lenient_correct: bool

    @property
    def correct(self) -> bool:
        return self.verdict == "correct"

    @property
    def gold_invalid(self) -> bool:
        return self.verdict == Status.GOLD_INVALID

    @property
    def has_thinking(self) -> bool:
        return bool(self.thinking)

    @property
    def has_answer(self) -> bool:
        return self.answer is not None

    @property
    def truncated(self) -> bool:
        return self.completion.finish_reason == "length"

    def row(self) -> dict[str, Any]:
        """The row of the per-example CSV."""
        return {
            "question": self.problem.question,
            "labeled_cot": self.problem.reasoning,
            "labeled_answer": self.problem.answer,
            "generated_text": self.completion.text,
            "extracted_thinking": self.thinking,
            "extracted_answer": self.answer,
            "correct": self.correct,
            "id": self.problem.id,
            "verdict": self.verdict,
            "method": self.method,
            "lenient_answer": self.lenient_answer,
            "lenient_correct": self.lenient_correct,
            "well_formed": self.well_formed,
            "finish_reason": self.completion.finish_reason,
            "n_tokens": self.completion.n_tokens,
        }


@dataclass(frozen=True)
class Evaluation:
    """Graded completions, in the order of the problems, and the rates over them."""

    graded: list[Graded]
    metrics: dict[str, Any]


def read_test_problems(config: EvalConfig) -> Collected[Problem]:
    """The problems to evaluate on, with a line on the screen about rows that are lost. Raises ToolError when there is
    none that can be used, when more are lost than allowed, or the engine is not there."""
    check_engine(config.engine)
    found = read_problems(
        config.eval_data, question_key=config.question_key, answer_key=config.answer_key, limit=config.eval_samples
    )
    where = ", ".join(config.eval_data)
    allowance.settle(where, found.n_read, found.rejected, allowance.unreadable(found.items), config.max_rejected)
    return found


def sampling_params(config: EvalConfig) -> SamplingParams:
    return SamplingParams(config.eval_temperature, config.eval_max_new_tokens, seed=config.seed)


def evaluate(
    engine: Engine, problems: Sequence[Problem], profile: Profile, params: SamplingParams, label: str = "evaluating"
) -> Evaluation:
    """Sample one completion a problem and grade it; of several processes each samples its part."""
    prompts = prompts_of(problems, engine.tokenizer, profile, engine.context_length, params.max_new_tokens)
    with progress(total=len(processes.mine(prompts)), label=label, unit="problem") as bar:
        drawn = engine.generate(
            processes.mine(prompts),
            params,
            keys=processes.mine([problem.id for problem in problems]),
            on_done=lambda *_: bar.update(),
        )
    graded = [
        grade(problem, prompt, completion, profile)
        for problem, prompt, completion in zip(problems, prompts, _of_all([c[0] for c in drawn]), strict=True)
    ]
    return Evaluation(graded, rates(graded))


def _of_all(completions: list[Completion]) -> list[Completion]:
    """This process's completions with those of the others between them, in the order of the problems."""
    parts = processes.gather([asdict(completion) for completion in completions])
    return [Completion.from_json(values) for values in processes.in_order(parts)]


def evaluate_in_run(
    run: Draft,
    model: Loaded | ModelRef | Engine,
    problems: Sequence[Problem],
    profile: Profile,
    config: EvalConfig,
    ending: str = "",
) -> Evaluation:
    """Evaluate a model, the one that was trained in this process and saved in the run, or an engine's; the result is
    written into the run and shown."""
    if said := warning(undeduplicated(run.inputs)):
        say(said)
    with _engine(run, model, config) as engine:
        evaluation = evaluate(engine, problems, profile, sampling_params(config))
    if processes.is_main():
        write_evaluation(run, evaluation, ending)
    say(describe(evaluation.metrics))
    return evaluation


@contextmanager
def _engine(run: Draft, model: Loaded | ModelRef | Engine, config: EvalConfig) -> Iterator[Engine]:
    """The engine that is given, else that of `--engine`. transformers samples with a trained model as it is in memory;
    vLLM reads it from the run's folder, and the one in memory makes room for it."""
    if not isinstance(model, Loaded | ModelRef):
        yield model
    elif config.engine == "vllm":
        from tools_shared.engines.vllm.engine import open_vllm

        if isinstance(model, Loaded):
            _make_room(model)
            model = resolve(str(run.model_dir))
        engine = open_vllm(model, config)
        try:
            yield engine
        finally:
            engine.close()
    elif isinstance(model, Loaded):
        from tools_shared.engines.local.engine import TransformersEngine

        yield TransformersEngine(model.model, model.tokenizer)
    else:
        yield open_engine(model, config)


def _make_room(loaded: Loaded) -> None:
    import torch

    loaded.model.to("cpu")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def grade(problem: Problem, prompt: Prompt, completion: Completion, profile: Profile) -> Graded:
    """Take a completion apart and compare its answer with the gold one, strictly and leniently."""
    judged = judge(
        completion.text,
        problem.answer,
        profile,
        opened=opened(prompt, completion, profile),
        truncated=completion.finish_reason == "length",
    )
    verdict = judged.strict_verdict
    return Graded(
        problem=problem,
        completion=completion,
        thinking=judged.thinking,
        answer=judged.strict.answer,
        verdict="gold_invalid" if judged.gold_invalid else verdict.status if verdict else "no_answer",
        method=verdict.method if verdict else judged.strict.method,
        well_formed=judged.well_formed,
        lenient_answer=judged.lenient.answer,
        lenient_correct=judged.lenient_correct,
    )


def opened(prompt: Prompt, completion: Completion, profile: Profile) -> bool:
    """Whether the prompt wrote the opening thinking tag. One without tokens was rendered by a server."""
    return prompt.opens_thinking or (not prompt.token_ids and profile.closes_unopened(completion.text))


def rates(graded: Sequence[Graded]) -> dict[str, Any]:
    """Each rate with its interval and n; and the mean length of a completion in tokens.

    A problem whose gold answer cannot be read is out of the accuracies. Raises ToolError when no gold answer can.
    """
    judged = [g for g in graded if not g.gold_invalid]
    if not judged:
        raise ToolError("no gold answer of the test problems can be read; fix them, or pass --answer-key")
    metrics: dict[str, Any] = {}
    for name, attribute in RATES.items():
        counted = judged if name.startswith("accuracy") else graded
        n = len(counted)
        interval = wilson(sum(getattr(g, attribute) for g in counted), n)
        metrics[name] = {"estimate": interval.estimate, "low": interval.low, "high": interval.high, "n": n}
    lengths = [g.completion.n_tokens for g in graded if g.completion.n_tokens is not None]
    if lengths:  # servers may not tell
        metrics["mean_tokens"] = sum(lengths) / len(lengths)
    return metrics


def write_evaluation(run: Draft, evaluation: Evaluation, ending: str = "", csv_path: Path | None = None) -> None:
    """Write `debug/STAGE_RUNID.csv` and `..._metrics.txt`, and the CSV once more under `csv_path` if it is given."""
    for path in filter(None, (run.debug_path(f"{ending}.csv"), csv_path)):
        write_csv(path, evaluation.graded)
    with atomic_write(run.debug_path(f"{ending}_metrics.txt")) as file:
        file.write("".join(f"{name}: {show_metric(value)}\n" for name, value in evaluation.metrics.items()))


def write_csv(path: Path, graded: Sequence[Graded]) -> None:
    with atomic_write(path) as file:
        csv_cells.Writer(file).rows(COLUMNS, (g.row() for g in graded))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The per-example rows of an evaluation, with `True` and `False` however a spreadsheet spelt them; raises ToolError
    when the file is not one, or a judgement neither."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv_cells.read_dicts(file))
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file") from None
    if not rows or not set(rows[0]) >= READ:
        raise ToolError(f"{path}: not the per-example CSV of an evaluation (columns {', '.join(COLUMNS[:8])}, ...)")
    for number, row in enumerate(rows, start=1):
        for name in ("correct", "lenient_correct"):
            row[name] = (row[name] or "").strip().capitalize()
            if row[name] not in ("True", "False"):
                raise ToolError(f"{path}: row {number}: {name} is '{row[name]}', not True or False; evaluate again")
    return rows


def describe(metrics: dict[str, Any]) -> str:
    """The rates as lines of text."""
    return "\n".join(f"{name:>21}  {show_metric(value)}" for name, value in metrics.items())
