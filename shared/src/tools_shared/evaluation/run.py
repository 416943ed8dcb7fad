"""Sampling and grading the test problems, alone or as a part of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools_shared import processes
from tools_shared.console import progress, say
from tools_shared.costs.meter import during
from tools_shared.engines import (
    Completion,
    Engine,
    SamplingParams,
    open_engine,
    prompts_of,
)
from tools_shared.evaluation.files import write_csv
from tools_shared.evaluation.graded import Graded, describe, grade, rates
from tools_shared.evaluation.options import EvalConfig, sampling_params
from tools_shared.files import atomic_write
from tools_shared.models import Loaded, ModelRef, resolve
from tools_shared.models.load import sampling_dtype
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.runs import Draft
from tools_shared.runs.card import show_metric
from tools_shared.runs.lineage import undeduplicated, warning


@dataclass(frozen=True)
class Evaluation:
    """Graded completions, in the order of the problems, and the rates over them."""

    graded: list[Graded]
    metrics: dict[str, Any]


def evaluate(
    engine: Engine, problems: Sequence[Problem], profile: Profile, params: SamplingParams, label: str = "evaluating"
) -> Evaluation:
    """Sample one completion a problem and grade it; of several processes each samples its part."""
    prompts = prompts_of(problems, engine.tokenizer, profile, engine.context_length, params.max_new_tokens)
    with during("evaluation"), progress(total=len(processes.mine(prompts)), label=label, unit="problem") as bar:
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
    metrics = rates(graded)
    if engine.sampled_in:
        metrics["sampled_in"] = engine.sampled_in
    return Evaluation(graded, metrics)


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

        dtype = sampling_dtype(model.ref, config.dtype, config.device)
        yield TransformersEngine(model.model, model.tokenizer, dtype)
    else:
        yield open_engine(model, config)


def _make_room(loaded: Loaded) -> None:
    import torch

    loaded.model.to("cpu")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def write_evaluation(run: Draft, evaluation: Evaluation, ending: str = "", csv_path: Path | None = None) -> None:
    """Write `debug/STAGE_RUNID.csv` and `..._metrics.txt`, and the CSV once more under `csv_path` if it is given."""
    for path in filter(None, (run.debug_path(f"{ending}.csv"), csv_path)):
        write_csv(path, evaluation.graded)
    with atomic_write(run.debug_path(f"{ending}_metrics.txt")) as file:
        file.write("".join(f"{name}: {show_metric(value)}\n" for name, value in evaluation.metrics.items()))
