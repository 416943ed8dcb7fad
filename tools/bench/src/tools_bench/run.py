"""`tools-bench run`: a suite put to a model or an endpoint, graded, and written as a run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_bench.apis import Api, choose_api
from tools_bench.collect import Guard, Prices, from_endpoint, from_engine
from tools_bench.config import BenchConfig
from tools_bench.gate import compare_with
from tools_bench.grade import Graded, grade_all, grader_sha256
from tools_bench.items import Item, ReadTask, messages_of, read_task
from tools_bench.journal import FILE as RESPONSES
from tools_bench.journal import Journal
from tools_bench.results import FILE as RESULTS
from tools_bench.results import as_csv, as_text, headline_metrics, summarize
from tools_bench.sides import ITEMS
from tools_bench.suite import Suite, load_suite, with_datasets
from tools_shared.cli import Invocation, say
from tools_shared.config import digest
from tools_shared.engines import SamplingParams
from tools_shared.engines.http import read_api_key
from tools_shared.engines.reply_cache import ReplyCache
from tools_shared.engines.transport import Server
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_json, write_jsonl
from tools_shared.prompts import DEFAULT_PROFILE, Profile, load_profile
from tools_shared.runs import Draft, draft, finished, read_manifest
from tools_shared.runs.read import Manifest
from tools_shared.sources import source_sha256


@dataclass(frozen=True)
class Plan:
    """What will be asked: the suite, its items, the profile and the sampling."""

    suite: Suite
    tasks: list[ReadTask]
    profile: Profile
    params: SamplingParams

    @property
    def items(self) -> list[Item]:
        return [item for task in self.tasks for item in task.items]


def run_benchmark(config: BenchConfig, invocation: Invocation) -> Manifest:
    """Benchmark and publish the run (`OUTPUT_DIR/NAME`), or take the one that is there, and compare it if asked to.

    Raises Incomplete when it had to stop: the same command then goes on. Raises RegressionError when a gate fails.
    """
    folder = run_folder(config)
    if config.endpoint is None and config.model_path is None:
        manifest = _stored(folder)
    else:
        manifest = finished(folder, config) or _make(folder, config, invocation)
    if config.compare is not None:
        compare_with(config.compare, folder, config)
    return manifest


def _make(folder: Path, config: BenchConfig, invocation: Invocation) -> Manifest:
    plan = make_plan(config)
    with draft(folder, config, invocation, "bench") as run:
        _note_inputs(run, plan)
        write_jsonl(run.path / ITEMS, (item.to_json() for item in plan.items))
        with Journal(run.path / RESPONSES) as journal:
            guard = _collect(config, run, plan, journal)
        results, graded = score(plan.items, journal, plan.profile, _tells_format(config))
        results = describe_run(config, plan) | results | _effort(journal, guard)
        write_outputs(run.path, run.debug_path(".csv"), results, graded)
        say(as_text(results))
        return run.finish(headline_metrics(results), seed=config.seed, profile=plan.profile.name)


def run_folder(config: BenchConfig) -> Path:
    """Where the run goes: the model's name, made fit for a folder, in the output directory."""
    base = config.output_dir or (Path(os.environ["OUTPUT_DIR"]) / "benchmarks" if "OUTPUT_DIR" in os.environ else None)
    return Path(base or "outputs/benchmarks") / folder_name(display_name(config))


def display_name(config: BenchConfig) -> str:
    if config.model_name:
        return config.model_name
    if config.model_path:
        return Path(config.model_path).name
    raise ToolError("--model-name is missing: it names the results, and the model on the server")


def folder_name(name: str) -> str:
    """`qwen3:8b-baseline` as `qwen3_8b-baseline`."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".") or "model"


def _stored(folder: Path) -> Manifest:
    if not folder.exists():
        raise ToolError(f"{folder}: no such run; give --endpoint or --model-path to make it")
    return read_manifest(folder)


def make_plan(config: BenchConfig) -> Plan:
    """Read the suite and its data; raises ToolError when a task has no usable row."""
    suite = with_datasets(load_suite(config.suite or _suite_of(config.compare) or "quick"), config.datasets)
    tasks = [read_task(task, config.limit) for task in suite.tasks]
    if config.ids is not None:
        tasks = _chosen(tasks, config.ids)
    params = SamplingParams(config.temperature, config.max_new_tokens, config.samples, config.top_p, seed=config.seed)
    return Plan(suite, tasks, _profile(config), params)


def _suite_of(baseline: str | None) -> str | None:
    """The suite that a baseline ran, where it says so."""
    if baseline is None:
        return None
    path = Path(baseline) / RESULTS if Path(baseline).is_dir() else Path(baseline)
    if not path.exists():
        raise ToolError(f"--compare {baseline}: no such run")
    data = json.loads(path.read_text(encoding="utf-8"))
    return data.get("suite_given") if isinstance(data, dict) else None


def _chosen(tasks: Sequence[ReadTask], ids: str) -> list[ReadTask]:
    words = Path(ids).read_text(encoding="utf-8").split("\n") if Path(ids).is_file() else ids.split(",")
    wanted = {word.strip() for word in words if word.strip()}
    known = {item.id for task in tasks for item in task.items}
    if unknown := sorted(wanted - known):
        raise ToolError(f"--ids: no item '{unknown[0]}' in the suite ({len(unknown)} of {len(wanted)} ids unknown)")
    kept = [ReadTask(t.task, [i for i in t.items if i.id in wanted], t.rejected) for t in tasks]
    return [task for task in kept if task.items]


def _profile(config: BenchConfig) -> Profile:
    if config.model_path is not None:
        from tools_shared.models import choose_profile, resolve

        return choose_profile(resolve(config.model_path), config.profile)
    return load_profile(config.profile or DEFAULT_PROFILE)


def _note_inputs(run: Draft, plan: Plan) -> None:
    for task in plan.tasks:
        source = task.task.location()
        items = digest([item.to_json() for item in task.items])
        more = {"items_sha256": items, "n_used": len(task.items), "n_rejected": len(task.rejected)}
        run.add_input(task.task.name, source, source_sha256(source) or items, **more)
    run.reject(row for task in plan.tasks for row in task.rejected)


def _collect(config: BenchConfig, run: Draft, plan: Plan, journal: Journal) -> Guard:
    prices = Prices(config.price_in, config.price_out, config.budget)
    guard = Guard(journal, len(plan.items) * plan.params.n, config.max_error_rate, prices)
    if config.model_path is not None:
        _from_model(config, run, plan, journal)
        return guard
    api, server = api_of(config), server_of(config)
    path = run.final.parent / ".cache" / "replies.sqlite"
    # Behind one address different models come and go: a reply belongs to the name it was asked under.
    cache = ReplyCache(path, display_name(config)) if config.cache else None
    try:
        from_endpoint(journal, plan.items, api, server, plan.profile, plan.params, guard, cache)
    finally:
        if cache is not None:
            cache.close()
    return guard


def _from_model(config: BenchConfig, run: Draft, plan: Plan, journal: Journal) -> None:
    from tools_shared.engines import open_engine
    from tools_shared.models import resolve, weights_sha256

    ref = resolve(config.model_path or "")
    run.add_input("model", ref.spec, weights_sha256(ref.weights), run_sha256=ref.run and ref.run.sha256)
    if any(journal.needs((item.task, item.id, d)) for item in plan.items for d in range(plan.params.n)):
        from_engine(journal, plan.items, open_engine(ref, config), plan.profile, plan.params)


def api_of(config: BenchConfig) -> Api:
    return choose_api(
        config.api, config.endpoint or "", config.model_name, config.request_template, config.response_path
    )


def server_of(config: BenchConfig) -> Server:
    return Server(
        api_of(config).url,
        read_api_key(config.api_key_env),
        concurrency=config.concurrency,
        timeout=config.timeout,
        max_retries=config.max_retries,
        rate_limit=config.rate_limit,
    )


def _tells_format(config: BenchConfig) -> bool:
    return config.model_path is not None or api_of(config).tells_format


def score(
    items: Sequence[Item], journal: Journal, profile: Profile, tells: bool
) -> tuple[dict[str, Any], list[Graded]]:
    graded = grade_all(items, journal.responses, profile)
    return summarize(graded, tells), graded


def describe_run(config: BenchConfig, plan: Plan) -> dict[str, Any]:
    """The facts of a run that a comparison has to check, and those that the old format has."""
    return {
        "model_name": display_name(config),
        "endpoint": config.endpoint,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": plan.suite.name,
        "suite_given": config.suite or _suite_of(config.compare) or "quick",
        "model_path": config.model_path,
        "profile": plan.profile.to_json(),
        "tells_format": _tells_format(config),
        "hashes": hashes(config, plan),
        "grader": grader_sha256(),
    }


def hashes(config: BenchConfig, plan: Plan) -> dict[str, Any]:
    """What must be alike in two runs that are compared: data, prompts, sampling."""
    transport = "chat" if config.endpoint and api_of(config).name == "chat" else "messages"
    asked = {
        task.task.name: digest(
            [[m.content for m in messages_of(item, plan.profile)] for item in task.items] + [transport]
        )
        for task in plan.tasks
    }
    params = plan.params
    return {
        "data": {task.task.name: digest([item.to_json() for item in task.items]) for task in plan.tasks},
        "prompt": asked,
        "sampling": {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_new_tokens": params.max_new_tokens,
            "samples": params.n,
        },
    }


def _effort(journal: Journal, guard: Guard) -> dict[str, Any]:
    """What it took: tokens, money, tries."""
    responses = list(journal.responses.values())
    seconds = sorted(r.seconds for r in responses if r.error is None)
    return {
        "effort": {
            "responses": len(responses),
            "failed": sum(r.error is not None for r in responses),
            "from_cache": sum(r.cached for r in responses),
            "retries": sum(max(0, r.attempts - 1) for r in responses),
            "tokens_in": sum(r.tokens_in or 0 for r in responses),
            "tokens_out": sum(r.tokens_out or 0 for r in responses),
            "spent": round(guard.spent, 6),
            "median_seconds": seconds[len(seconds) // 2] if seconds else None,
        }
    }


def write_outputs(folder: Path, csv_path: Path, results: dict[str, Any], graded: Sequence[Graded]) -> None:
    write_json(folder / RESULTS, results)
    with atomic_write(csv_path) as file:
        file.write(as_csv(graded))
    for path in (csv_path.with_name(f"{csv_path.stem}_metrics.txt"), folder / "metrics.txt"):
        with atomic_write(path) as file:
            file.write(as_text(results))


def dry_run(config: BenchConfig) -> str:
    """What `run` would ask, and the most that it can cost."""
    plan = make_plan(config)
    lines = [f"{task.task.name}: {len(task.items)} items, {len(task.rejected)} rows rejected" for task in plan.tasks]
    n = len(plan.items) * plan.params.n
    lines.append(f"{n} requests into {run_folder(config)}")
    if config.endpoint is not None:
        api = api_of(config)
        bodies = [api.body(item, plan.profile, plan.params, 0) for item in plan.items]
        size = sum(len(json.dumps(body).encode()) for body in bodies) * plan.params.n
        most = Prices(config.price_in, config.price_out).of(size // 3, n * plan.params.max_new_tokens)
        lines += [f"to {api.url} ({api.name}), at most {most:.4g} in cost; the first:", json.dumps(bodies[0], indent=2)]
    return "\n".join(lines)
