"""Several completions of a problem: pass@k, the majority, and what a scorer makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools_bench.config import EvaluateConfig
from tools_shared.answers.voting import best_scored, elected, number_answers
from tools_shared.console import progress
from tools_shared.engines import Completion, Engine, SamplingParams
from tools_shared.evaluation import Graded, grade
from tools_shared.files import write_jsonl
from tools_shared.prompts import Profile, Prompt, render_question
from tools_shared.records import Problem
from tools_shared.runs import Draft, read_manifest
from tools_shared.runs.read import MANIFEST
from tools_shared.stats import bounded_difference, bounded_mean

FILE = "samples.jsonl"
TEMPERATURE = 0.8


def vote(
    run: Draft, engine: Engine, problems: Sequence[Problem], profile: Profile, config: EvaluateConfig
) -> dict[str, Any]:
    """Sample `--samples` completions a problem, write them with their scores, and return the rates with intervals.

    Nothing without `--samples`. Intervals resample problems; the difference of weighted vote and majority is paired.
    """
    if config.samples is None:
        return {}
    scores_of = _open_scorer(run, config.scorer)
    prompts = [render_question(engine.tokenizer, profile, problem.question) for problem in problems]
    drawn = _draw(engine, prompts, problems, config)
    graded = [
        [grade(problem, prompt, completion, profile) for completion in completions]
        for problem, prompt, completions in zip(problems, prompts, drawn, strict=True)
    ]
    scores = scores_of(graded, prompts, profile) if scores_of else [[1.0] * config.samples for _ in graded]
    write_jsonl(
        run.path / FILE,
        (_row(g, score) for gs, ss in zip(graded, scores, strict=True) for g, score in zip(gs, ss, strict=True)),
    )
    return _rates(graded, scores, config)


def _draw(
    engine: Engine, prompts: Sequence[Prompt], problems: Sequence[Problem], config: EvaluateConfig
) -> list[list[Completion]]:
    temperature = config.sample_temperature or config.eval_temperature or TEMPERATURE
    params = SamplingParams(
        temperature, config.eval_max_new_tokens, n=config.samples or 1, seed=config.seed, prune=bool(config.prune)
    )
    with progress(total=len(prompts), label="sampling", unit="problem") as bar:
        return engine.generate(prompts, params, keys=[p.id for p in problems], on_done=lambda *_: bar.update())


def _open_scorer(run: Draft, spec: str | None):
    """A function from graded completions to scores, None without a scorer; noted among the run's inputs."""
    if spec is None:
        return None
    from tools_shared.scorers.text import TextResponse, open_text_scorer, scorer_weights

    reader = open_text_scorer(spec)
    parent = read_manifest(spec).sha256 if (Path(spec) / MANIFEST).exists() else None
    run.add_input("scorer", spec, scorer_weights(spec)[1], run_sha256=parent)

    def scores_of(graded: Sequence[Sequence[Graded]], prompts: Sequence[Prompt], profile: Profile) -> list[list[float]]:
        flat = [
            TextResponse(g.problem.question, _response(g.completion, prompt, profile))
            for gs, prompt in zip(graded, prompts, strict=True)
            for g in gs
        ]
        # What cannot be judged has no say: weight 0.
        found = iter([scored.score.mean if scored.score else 0.0 for scored in reader.score(flat)])
        return [[next(found) for _ in gs] for gs in graded]

    return scores_of


def _response(completion: Completion, prompt: Prompt, profile: Profile) -> str:
    """With the thinking tag that the prompt opened, as `tools-traces` writes it."""
    return (profile.think[0] if prompt.opens_thinking and profile.think else "") + completion.text


def _rates(
    graded: Sequence[Sequence[Graded]], scores: Sequence[Sequence[float]], config: EvaluateConfig
) -> dict[str, Any]:
    k = config.samples
    values: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        values.setdefault(name, []).append(value)

    for mine, weights in zip(graded, scores, strict=True):
        if mine[0].gold_invalid:
            continue
        # A trace that was stopped has no vote; it counts as one that is not right.
        numbers = number_answers([None if g.completion.pruned else g.answer for g in mine])
        right = [g.correct and not g.completion.pruned for g in mine]
        add("sample_accuracy", sum(right) / len(right))
        add(f"pass@{k}", float(any(right)))
        add(f"majority@{k}", elected(numbers, right, [1.0] * len(mine)))
        if config.scorer is not None:
            add(f"weighted_vote@{k}", elected(numbers, right, weights))
            add(f"best_of_{k}", best_scored(numbers, right, weights))
    rates: dict[str, Any] = {
        name: asdict(bounded_mean(found, range(len(found)), seed=config.seed)) for name, found in values.items()
    }
    if config.scorer is not None:
        gained = [a - b for a, b in zip(values[f"weighted_vote@{k}"], values[f"majority@{k}"], strict=True)]
        rates["weighted_vote_minus_majority"] = asdict(bounded_difference(gained, range(len(gained)), seed=config.seed))
    completions = [g.completion for gs in graded for g in gs]
    rates["sample_tokens"] = sum(completion.n_tokens or 0 for completion in completions)
    if config.prune:
        rates["samples_pruned"] = sum(completion.pruned is not None for completion in completions)
    return rates


def _row(g: Graded, score: float) -> dict[str, Any]:
    told = {"id": g.problem.id, "response": g.completion.text, "extracted_answer": g.answer, "is_correct": g.correct}
    done = g.completion
    told |= {"verdict": g.verdict, "score": round(score, 6), "n_tokens": done.n_tokens}
    watched = {"pruned": done.pruned and asdict(done.pruned), "steps": done.steps, "confidence": done.confidence}
    return told | {name: value for name, value in watched.items() if value is not None}
