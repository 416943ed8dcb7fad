"""`tools-bench run`: a suite put to a model or an endpoint, graded, and written as a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tools_bench.compare import compare_with
from tools_bench.comparison.regressions import refuse_unlike
from tools_bench.comparison.stored_runs import ITEMS, Side, differing, read_side
from tools_bench.config import BenchConfig
from tools_bench.grading.contamination import clean_subset
from tools_bench.grading.grade import Graded, grade_all, keep_metrics
from tools_bench.grading.judge import FILE as JUDGEMENTS
from tools_bench.grading.judge import (
    JUDGING,
    JudgeApi,
    apply_judgements,
    judged_items,
    rubrics_sha256,
    score_by_rubrics,
)
from tools_bench.grading.results import FILE as RESULTS
from tools_bench.grading.results import as_csv, as_text, headline_metrics, summarize
from tools_bench.grading.training_rows import known_questions, status, training_data
from tools_bench.likelihood.collect import read_by_engine, read_by_server
from tools_bench.likelihood.served import completions_url
from tools_bench.requests.collect import CollectGuard, cost, from_endpoint, from_engine
from tools_bench.requests.facts import describe_run, effort, hashes
from tools_bench.requests.journal import FILE as RESPONSES
from tools_bench.requests.journal import DrawKey, Response, ResponseJournal
from tools_bench.requests.plan import (
    Plan,
    api_of,
    display_name,
    make_plan,
    run_folder,
    server_of,
    tells_format,
    what_it_tells,
)
from tools_bench.requests.served_names import named
from tools_shared.addresses import shown_address, shown_request
from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.costs.meter import during
from tools_shared.costs.prices import Prices
from tools_shared.costs.spending import worst_case
from tools_shared.engines.http.address import chat_url, read_api_key
from tools_shared.engines.http.chat import ChatApi
from tools_shared.engines.http.habits import Habits
from tools_shared.engines.http.reply_cache import cache_beside
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_json, write_jsonl
from tools_shared.judging.agreement import NOT_MEASURED
from tools_shared.rewards.judged import JudgeReward
from tools_shared.runs import Draft, draft, finished, read_manifest
from tools_shared.runs.read import Manifest
from tools_shared.sources import source_sha256


def run_benchmark(config: BenchConfig, invocation: Invocation) -> Manifest:
    """Benchmark and publish the run (`OUTPUT_DIR/NAME`), or take the one that is there, and compare it if asked to.

    Raises Incomplete when it had to stop: the same command then resumes. Raises RegressionError when a gate fails.
    """
    config = named(config)
    folder = run_folder(config)
    # Read before anything is asked, as a wrong path costs nothing then.
    baseline = read_side(config.compare) if config.compare is not None else None
    if config.endpoint is None and config.model is None:
        manifest = _stored(folder)
    else:
        manifest = finished(folder, config) or _make(folder, config, invocation, baseline)
    if baseline is not None:
        compare_with(baseline, folder, config)
    return manifest


def _make(folder: Path, config: BenchConfig, invocation: Invocation, baseline: Side | None) -> Manifest:
    plan = make_plan(config)
    if config.endpoint is not None:
        server_of(config)  # its options are wrong before anything is said
    for line in what_it_tells(plan):
        say(line)
    if baseline is not None and baseline.graded is not None:  # before a request is paid for
        differs = differing(baseline.results["hashes"], hashes(config, plan))
        refuse_unlike(baseline.name, display_name(config.model, config.model_name), differs, config.allow_mismatch)
    train = training_data(config.train_data, config.model) if config.train_data is not None else []
    known = known_questions(train, plan.items)
    with draft(folder, config, invocation, "bench") as run:
        _note_inputs(run, plan)
        write_jsonl(run.path / ITEMS, (item.to_json() for item in plan.items))
        with ResponseJournal(run.path / RESPONSES) as journal:
            guard = _collect(config, run, plan, journal)
            judgements = _judge(config, run, plan, journal, guard.spending.spent)
            scored, rewards = _by_rubrics(run, plan, journal)
            judgements |= scored
        graded = grade_all(plan.items, journal.responses, plan.profile)
        said = apply_judgements(graded, judgements) if judgements else {}
        judge = {"judge": _judge_facts(config, judgements, said, rewards)} if judgements else {}
        facts = describe_run(config, plan)
        keep_metrics(graded, facts["chosen_metrics"])
        results = facts | summarize(graded, tells_format(config)) | judge
        results["effort"] = effort(journal.responses, guard.spending.spent if guard.spending.prices.known else None)
        held = None
        if train:
            results["clean_subset"] = clean_subset(graded, known, ", ".join(train), tells_format(config))
            held = results["clean_subset"]["contaminated"]
        results["contamination"] = status(plan.items, held)
        write_outputs(run.path, run.debug_path(".csv"), results, graded)
        say(as_text(results))
        return run.finish(headline_metrics(results), seed=config.seed, profile=plan.profile.name)


def _stored(folder: Path) -> Manifest:
    if not folder.exists():
        raise ToolError(f"{folder}: no such run; give --endpoint or --model to make it")
    return read_manifest(folder)


def _note_inputs(run: Draft, plan: Plan) -> None:
    for task in plan.tasks:
        source = task.task.location()
        items = digest([item.to_json() for item in task.items])
        more = {"items_sha256": items, "n_used": len(task.items), "n_rejected": len(task.rejected)}
        run.add_input(task.task.name, source, source_sha256(source) or items, **more)
    run.reject(row for task in plan.tasks for row in task.rejected)


def _collect(config: BenchConfig, run: Draft, plan: Plan, journal: ResponseJournal) -> CollectGuard:
    name, server = display_name(config.model, config.model_name), server_of(config)
    prices = config.prices(server.shown, name) if config.endpoint else Prices(0.0, 0.0)
    guard = CollectGuard(journal, len(plan.items) * plan.params.n, config.max_error_rate, prices)
    if config.model is not None:
        _from_model(config, run, plan, journal)
        return guard
    _read_by_server(config, plan, journal, guard)
    api = api_of(config)
    told = ("benchmark", f"{server.shown} {name}")
    with cache_beside(run.final, config.cache, name, api.worth_keeping) as cache:
        from_endpoint(journal, plan.asked, api, server, plan.profile, plan.params, guard, cache, *told)
    return guard


def _judge(
    config: BenchConfig, run: Draft, plan: Plan, journal: ResponseJournal, spent: float
) -> dict[DrawKey, Response]:
    """Have every reply judged; the budget is what the run has left. No judge: no judgements."""
    if config.judge_endpoint is None:
        return {}
    items = judged_items(plan.items, journal.responses, plan.params.n)
    left = None if config.budget is None else config.budget - spent
    params = replace(JUDGING, n=plan.params.n)
    server = replace(
        server_of(config),
        url=chat_url(config.judge_endpoint),
        api_key=read_api_key(config.judge_api_key_env, "--judge-api-key-env"),
        habits=Habits(say, may_drop=("temperature",)),
    )
    chat = ChatApi(server.url, config.judge_model)
    api = JudgeApi(chat, journal.responses, config.judge_schema)
    scope = f"judge {config.judge_model}"
    with (
        ResponseJournal(run.path / JUDGEMENTS) as judged,
        cache_beside(run.final, config.cache, scope, api.worth_keeping) as cache,
    ):
        name = config.judge_model or ""
        prices = replace(config.prices(server.shown, name), budget=left)
        guard = CollectGuard(judged, len(items) * params.n, config.max_error_rate, prices)
        told = ("judging", f"{server.shown} {name}")
        from_endpoint(judged, items, api, server, plan.profile, params, guard, cache, *told)
        return judged.responses


def _by_rubrics(run: Draft, plan: Plan, journal: ResponseJournal) -> tuple[dict[DrawKey, Response], list[JudgeReward]]:
    """The scores of the tasks that bring a rubric, and the rewards that gave them."""
    rubrics = {task.task.name: task.task.rubric for task in plan.tasks if task.task.rubric is not None}
    if not rubrics:
        return {}, []
    with ResponseJournal(run.path / JUDGEMENTS) as judged:
        rewards = score_by_rubrics(rubrics, plan.items, journal, judged, plan.profile)
        tasks = set(rubrics)
        return {key: said for key, said in judged.responses.items() if key[0] in tasks}, rewards


def _from_model(config: BenchConfig, run: Draft, plan: Plan, journal: ResponseJournal) -> None:
    from tools_shared.engines import open_engine
    from tools_shared.models import resolve, weights_sha256
    from tools_shared.models.load import sampled_in

    ref = resolve(config.model or "")
    facts = {"run_sha256": ref.run and ref.run.sha256, "sampled_in": sampled_in(ref, config.dtype, config.device)}
    run.add_input("model", ref.spec, weights_sha256(ref.weights), **facts)
    if any(journal.needs((item.task, item.id, d)) for item in plan.items for d in range(plan.params.n)):
        with during("benchmark"):
            engine = open_engine(ref, config)
            if readings := plan.readings(journal):
                read_by_engine(journal, engine, readings)
            from_engine(journal, plan.asked, engine, plan.profile, plan.params)


def _read_by_server(config: BenchConfig, plan: Plan, journal: ResponseJournal, guard: CollectGuard) -> None:
    """Multiple choice by log-probability; nothing where the options do not ask for it."""
    if readings := plan.readings(journal):
        server = replace(server_of(config), url=completions_url(config.endpoint or ""))
        read_by_server(journal, server, config.model_name, readings, guard)


def _judge_facts(
    config: BenchConfig, judgements: dict[DrawKey, Response], found: dict[str, Any], rewards: Sequence[JudgeReward]
) -> dict[str, Any]:
    server = shown_address(chat_url(config.judge_endpoint)) if config.judge_endpoint else ""
    prices = config.prices(server, config.judge_model or "")
    known = prices.known or any(reward.judge.prices.known for reward in rewards)
    spent = sum(cost(judgement, prices) for judgement in judgements.values()) if known else None
    cost_of_judging = effort(judgements, spent)
    for reward in rewards:
        cost_of_judging["tokens_in"] += reward.judge.spent.tokens_in
        cost_of_judging["tokens_out"] += reward.judge.spent.tokens_out
        if known:
            cost_of_judging["spent"] += reward.judge.spent.money
    models = [config.judge_model, *(reward.rubric.judge.model for reward in rewards)]
    lines = [f"{reward.rubric.name}: {reward.agreement()}" for reward in rewards]
    if config.judge_endpoint is not None:
        lines.append(f"the built-in rubrics: {NOT_MEASURED}")
    told = {
        "model": ", ".join(dict.fromkeys(model for model in models if model)),
        "endpoint": config.shown("judge_endpoint"),
        "rubrics": digest([rubrics_sha256(), *(r.rubric.sha256 for r in rewards)]) if rewards else rubrics_sha256(),
    }
    return {**told, "agreement_with_labels": lines, **found, "effort": cost_of_judging}


def write_outputs(folder: Path, csv_path: Path, results: dict[str, Any], graded: Sequence[Graded]) -> None:
    write_json(folder / RESULTS, results)
    with atomic_write(csv_path) as file:
        file.write(as_csv(graded))
    for path in (csv_path.with_name(f"{csv_path.stem}_metrics.txt"), folder / "metrics.txt"):
        with atomic_write(path) as file:
            file.write(as_text(results))


def dry_run(config: BenchConfig) -> str:
    """What `run` would ask, and the most that it can cost."""
    config = named(config)
    plan = make_plan(config)
    lines = what_it_tells(plan)
    lines += [f"{task.task.name}: {len(task.items)} items, {len(task.rejected)} rows rejected" for task in plan.tasks]
    n = len(plan.items) * plan.params.n
    lines.append(f"{n} requests into {run_folder(config)}")
    if config.endpoint is not None:
        api = api_of(config)
        bodies = [api.body(item, plan.profile, plan.params, 0) for item in plan.asked or plan.items]
        prices = config.prices(shown_address(api.url), display_name(config.model, config.model_name))
        most = worst_case(prices, bodies, plan.params.n, plan.params.max_new_tokens)
        first = shown_request(bodies[0], config.extra_body, config.request_template)
        lines += [f"to {api.url} ({api.name}), {most}; the first:", json.dumps(first, indent=2)]
    return "\n".join(lines)
