"""What a benchmark's results say about how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tools_bench.config import BenchConfig
from tools_bench.grading.grade import grader_sha256
from tools_bench.likelihood.texts import reading
from tools_bench.requests.items import Item, messages_of
from tools_bench.requests.journal import DrawKey, Response
from tools_bench.requests.plan import Plan, api_of, display_name, suite_of, tells_format
from tools_bench.requests.power import power_of
from tools_bench.requests.suite import DEFAULT
from tools_shared.config import digest


def describe_run(config: BenchConfig, plan: Plan) -> dict[str, Any]:
    """The facts of a run that a comparison has to check, and those that the old format has."""
    return {
        "model_name": display_name(config.model, config.model_name),
        "endpoint": config.shown("endpoint"),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": plan.suite.name,
        "suite_given": config.suite or suite_of(config.compare) or (None if config.data else DEFAULT),
        "model_path": config.model,
        "profile": plan.profile.to_json(),
        "tells_format": tells_format(config),
        "hashes": hashes(config, plan),
        "grader": grader_sha256(),
        "power": {t.task.name: power_of(len(t.items), plan.params.n) for t in plan.tasks if t.items},
        "chosen_metrics": {task.name: list(task.metrics) for task in plan.suite.tasks if task.metrics},
    }


def hashes(config: BenchConfig, plan: Plan) -> dict[str, Any]:
    """What must be alike in two runs that are compared: data, prompts, sampling."""
    transport = "chat" if config.endpoint and api_of(config).name == "chat" else "messages"
    asked = {task.task.name: prompt_hash([_asked(item, plan) for item in task.items], transport) for task in plan.tasks}
    params = plan.params
    return {
        "data": {task.task.name: digest([item.to_json() for item in task.items]) for task in plan.tasks},
        "prompt": asked,
        "sampling": {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_new_tokens": params.max_new_tokens,
            "samples": params.n,
            **_asked_otherwise(config),
        },
    }


def _asked(item: Item, plan: Plan) -> list[str]:
    """The texts that a model gets for an item."""
    if item.kind == "choice" and plan.choice_by != "generation":
        read = reading(item, plan.choice_by)
        return [read.context, *read.continuations]
    return [m.content for m in messages_of(item, plan.profile)]


def prompt_hash(prompts: Sequence[Sequence[str]], transport: str) -> str:
    """The hash of a task's prompts: the texts of each one's messages, and how they are sent."""
    return digest([*map(list, prompts), transport])


def _asked_otherwise(config: BenchConfig) -> dict[str, Any]:
    """What a user added to every request or left out of it; nothing where nothing was."""
    given = {"stop": list(config.stop), "extra_body": config.shown("extra_body"), "drop": sorted(config.drop)}
    return {name: value for name, value in given.items() if value}


def effort(replies: Mapping[DrawKey, Response], spent: float | None) -> dict[str, Any]:
    """What it took: tokens, money (None where no price is known), tries."""
    responses = list(replies.values())
    seconds = sorted(r.seconds for r in responses if r.error is None)
    return {
        "responses": len(responses),
        "failed": sum(r.error is not None for r in responses),
        "from_cache": sum(r.cached for r in responses),
        "retries": sum(max(0, r.attempts - 1) for r in responses),
        "tokens_in": sum(r.tokens_in or 0 for r in responses),
        "tokens_out": sum(r.tokens_out or 0 for r in responses),
        "spent": None if spent is None else round(spent, 6),
        "median_seconds": seconds[len(seconds) // 2] if seconds else None,
    }
