"""Rejection sampling: sample, grade, and keep what the model got right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import progress, say
from tools_shared.costs.meter import Tokens, counted
from tools_shared.costs.spending import Spending, worst_case
from tools_shared.engines import Engine, check_fits, open_engine, open_watched
from tools_shared.engines.http.chat import HttpEngine
from tools_shared.engines.http.reply_cache import cache_beside
from tools_shared.engines.vllm.engine import open_vllm
from tools_shared.errors import ToolError
from tools_shared.models import ModelRef, choose_profile, resolve
from tools_shared.models.load import sampled_in
from tools_shared.processes.ray_map import check_ray
from tools_shared.prompts import Profile, Prompt, render_question
from tools_shared.pruning.open import open_watcher
from tools_shared.records import Problem
from tools_shared.rewards import Reward
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.scorers.scorer import find_scorer
from tools_shared.scorers.text import scorer_weights
from tools_shared.states.reader import reader_sha256
from tools_traces.attempts.grading import accepter, grader, load_accepted
from tools_traces.attempts.journal import FILE, Attempt, AttemptJournal
from tools_traces.attempts.schedule import Schedule, sampling_params
from tools_traces.attempts.states import Recorder, layers_of
from tools_traces.config import TracesConfig
from tools_traces.output.rows import Provenance, outcomes
from tools_traces.output.write import write_outputs
from tools_traces.questions.select import Questions, read_questions

if TYPE_CHECKING:
    from tools_traces.attempts.workers import Fleet

LOG_EVERY = 50
"""Attempts between two lines of metrics.jsonl."""


def sample(config: TracesConfig, invocation: Invocation) -> Manifest | None:
    """Sample until every question has what it needs, and publish the rows; returns the manifest, None for a dry run.

    Everything that a user can have got wrong in data and options is found before the weights are loaded.
    """
    output_dir = Path(config.output_dir or default_output_dir("traces"))
    if not config.dry_run and (done := finished(output_dir, config)):
        return done
    ref = resolve(config.model)
    profile = choose_profile(ref, config.profile)
    if config.scorer is not None:
        scorer_weights(config.scorer)
    if config.prune_rules is not None and config.prune_rules.scorer is not None:
        find_scorer(config.prune_rules.scorer)
    if config.record_hidden:
        layers_of(config, ref)  # refuses before a draft is begun that the next try would stumble over
    accepted = load_accepted(config, profile)
    questions = read_questions(config, accepted)
    n = len(questions.problems)
    say(f"{questions.read.n_read} rows read, {n} questions, {len(questions.rejected)} rejected")
    if config.temperature == 0 and config.max_attempts > 1:
        say("--temperature 0: all attempts at a question are alike; --max-attempts 1 gives the same rows sooner")
    if config.dry_run:
        least = n * min(config.goal or config.max_attempts, config.max_attempts)
        say(f"would draw {least} to {n * config.max_attempts} completions of at most {config.max_new_tokens} tokens")
        if config.engine == "http":
            say(_at_most(config, ref, profile, questions))
        return None
    with draft(output_dir, config, invocation, "traces") as run:
        if accepted is not None:
            accepted.attach(run.path)
            for name, path, sha256 in accepted.inputs():
                run.add_input(name, path, sha256)
        manifest = _sample_into(run, config, ref, profile, questions, accepted)
    if accepted is not None and (spent := accepted.spent()):
        say("judging: " + ", ".join(f"{name} {value:.6g}" for name, value in spent.items()))
    return manifest


def _at_most(config: TracesConfig, ref: ModelRef, profile: Profile, questions: Questions) -> str:
    """What the requests to a server can cost, every attempt made and as long as it may be."""
    engine = open_engine(ref, config)
    prompts = [render_question(None, profile, problem.question) for problem in questions.problems]
    params = sampling_params(config)
    bodies = [engine.api.body(p.messages, params, "", 0, p.template_options) for p in prompts]
    prices = config.prices(engine.server.shown, config.model_name or "")
    return f"to {engine.server.shown}, {worst_case(prices, bodies, config.max_attempts, config.max_new_tokens)}"


def _sample_into(
    run: Draft, config: TracesConfig, ref: ModelRef, profile: Profile, questions: Questions, accepted: Reward | None
) -> Manifest:
    run.reject(questions.rejected)
    read, n = questions.read, len(questions.problems)
    run.add_sources("data", read, n_used=n)
    if questions.tests is not None:
        run.add_sources("decontaminate", questions.tests)
    with AttemptJournal(run.path / FILE) as journal:
        source = _by_workers if config.engine == "ray" else _here
        drawing = source(config, ref, profile, questions, journal, accepted)
        model_hash = add_model(run, config, ref)
        with _paid(run, config, drawing.engine):
            timing = _draw(run, drawing, n)
    origin = Provenance(config.seed, model_hash, profile)
    metrics = write_outputs(run, config, questions.problems, journal.attempts, origin, timing)
    if drawing.recorder is not None:
        found = outcomes(questions.problems, journal.attempts, config, config.max_attempts)
        graded = [attempt for outcome in found for attempt in outcome.attempts]
        metrics["hidden_traces"] = drawing.recorder.finish(graded)
    return run.finish(metrics, seed=config.seed, profile=profile.name)


@contextmanager
def _paid(run: Draft, config: TracesConfig, engine: Engine | None) -> Iterator[None]:
    """A server's replies within the budget, of which this run's earlier sessions have used a part, and from the cache
    of the runs beside this one."""
    if not isinstance(engine, HttpEngine):
        yield
        return
    prices = config.prices(engine.server.shown, config.model_name or "")
    used = counted("sampling").get(engine.source, Tokens())
    engine.spending = Spending(prices, prices.of(used.tokens_in, used.tokens_out))
    with cache_beside(run.final, config.cache, config.model_name or "", engine.api.worth_keeping) as engine.cache:
        yield


@dataclass(frozen=True)
class _Drawing:
    """Who says what is sampled, and how to make it sample everything, telling of each attempt."""

    schedule: Schedule | Fleet
    run: Callable[[Callable[[Attempt], None]], None]
    recorder: Recorder | None = None
    engine: Engine | None = None


def _here(
    config: TracesConfig,
    ref: ModelRef,
    profile: Profile,
    questions: Questions,
    journal: AttemptJournal,
    accepted: Reward | None,
) -> _Drawing:
    """Sample with an engine of this process."""
    watcher = open_watcher(config.prune_rules, ref, profile, config.max_attempts, config.dtype, config.device)
    if config.record_hidden and config.engine == "vllm":
        engine = open_vllm(ref, config, layers_of(config, ref))
    else:
        engine = open_watched(ref, config, watcher)
    if config.record_hidden and config.engine == "transformers":
        engine.kept_layers = layers_of(config, ref)
    for attempt in journal.attempts.values() if watcher else ():
        lowest = attempt.confidence[-1][1] if attempt.confidence else None
        watcher.remember(attempt.id, attempt.sample, None if attempt.pruned else attempt.answer, lowest)
    pairs = _rendered(engine.tokenizer, engine.context_length, profile, questions, config.max_new_tokens)
    grade, recorder = grader(profile, config.token_ids), None
    if accepted is not None and config.acceptance is not None:
        grade = accepter(accepted, config.acceptance[1], profile, config.token_ids)
    if config.record_hidden:
        recorder = Recorder(journal.path.parent, config, ref, profile, engine.tokenizer)
        grade = recorder.around(grade)
        journal.attempts = {key: attempt for key, attempt in journal.attempts.items() if recorder.holds(key)}
    by_turns = watcher is not None and watcher.by_turns
    schedule = Schedule(pairs, config.goal, config.max_attempts, journal, grade, by_turns)
    run = partial(schedule.run, engine, sampling_params(config), config.batch_size, ahead=config.engine != "http")
    return _Drawing(schedule, run, recorder, engine)


def _by_workers(
    config: TracesConfig,
    ref: ModelRef,
    profile: Profile,
    questions: Questions,
    journal: AttemptJournal,
    accepted: Reward | None,
) -> _Drawing:
    """Sample with Ray's workers; the weights are loaded there, but what does not fit is found here."""
    from tools_shared.models.load import context_length, load_config, load_tokenizer
    from tools_traces.attempts.workers import Fleet

    check_ray()
    if accepted is not None and accepted.has_budget and config.ray_workers is None:
        raise ToolError("--accept: the judge's budget is divided among the workers; say how many, with --ray-workers N")
    length = config.max_model_len or context_length(load_config(ref))
    _rendered(load_tokenizer(ref), length, profile, questions, config.max_new_tokens)
    fleet = Fleet(questions.problems, config, profile, journal, accepted)
    return _Drawing(fleet, fleet.run)


def _rendered(
    tokenizer, context_length: int | None, profile: Profile, questions: Questions, max_new_tokens: int
) -> list[tuple[Problem, Prompt]]:
    """Each question with its prompt; raises ToolError for one that does not fit into the context."""
    prompts = [render_question(tokenizer, profile, problem.question) for problem in questions.problems]
    places = [str(problem.origin or problem.id) for problem in questions.problems]
    check_fits(prompts, places, context_length, max_new_tokens)
    return list(zip(questions.problems, prompts, strict=True))


def _draw(run: Draft, drawing: _Drawing, n: int) -> dict[str, Any]:
    """Sample everything with progress and metrics; returns how fast this session was."""
    began = time.monotonic()
    drawn = {"attempts": 0, "tokens": 0, "verified": 0}
    schedule = drawing.schedule
    if schedule.journal.attempts:
        say(f"{len(schedule.journal.attempts)} attempts are in the journal; {schedule.n_finished} questions are done")
    with progress(total=n, label="questions", unit="question") as bar:
        bar.update(schedule.n_finished)

        def note(attempt: Attempt) -> None:
            drawn["attempts"] += 1
            drawn["tokens"] += attempt.n_tokens
            drawn["verified"] += attempt.verified
            verified, speed = drawn["verified"] / drawn["attempts"], drawn["tokens"] / (time.monotonic() - began)
            if drawn["attempts"] % LOG_EVERY == 0:
                log(verified, speed)
            bar.update(schedule.n_finished - bar.n)
            bar.note(f"{100 * verified:.0f} % verified, {speed:.0f} tokens/s")

        def log(verified: float, speed: float) -> None:
            done = {"step": len(schedule.journal.attempts), "questions_done": schedule.n_finished}
            run.log(done | {"verified": round(verified, 4), "tokens_per_second": round(speed, 1)})

        drawing.run(note)
    seconds = time.monotonic() - began
    if drawn["attempts"]:
        log(drawn["verified"] / drawn["attempts"], drawn["tokens"] / seconds)
    return {
        "seconds_last_session": round(seconds, 3),
        "tokens_per_second": round(drawn["tokens"] / seconds, 1),
        "attempts_last_session": drawn["attempts"],  # with those sampled ahead that turned out not to be needed
        "tokens_last_session": drawn["tokens"],
    }


def add_model(run: Draft, config: TracesConfig, ref: ModelRef) -> str:
    """Note the model among the run's inputs; returns the hash that its rows carry."""
    if config.engine == "http":
        where = f"{config.shown('endpoint')} {config.model_name or ''}".strip()
        run.add_input("model", where, digest(where))
        return digest(where)[:16]
    sha256 = reader_sha256(ref)
    run.add_input(
        "model",
        ref.spec,
        sha256,
        run_sha256=ref.run and ref.run.sha256,
        sampled_in=sampled_in(ref, config.dtype, config.device),
    )
    return sha256[:16]
