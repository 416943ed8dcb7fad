"""`tools-bench export inspect`: a run's samples as logs that inspect_ai's viewer opens, one file a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import read_side
from tools_bench.config import LogExportConfig
from tools_bench.grading.grade import Graded
from tools_bench.logs.inspect_ai import KIND
from tools_bench.requests.item import Item
from tools_bench.requests.items import messages_of
from tools_bench.requests.plan import folder_name
from tools_shared.errors import ToolError
from tools_shared.files import write_json
from tools_shared.files.outputs import output_files
from tools_shared.prompts import Profile
from tools_shared.records import Message

Asked = Callable[[Item], list[Message]]
_STOPS = {"length": "max_tokens", "stop": "stop"}


def run_export(config: LogExportConfig) -> list[Path]:
    """Write `TASK.json` for each task of a run into `RUN-inspect` (or --output-dir); returns the files.

    Raises ToolError for a run without stored responses.
    """
    side = read_side(config.run)
    if side.graded is None:
        raise ToolError(f"{config.run}: has no stored responses; run the benchmark again, then export it")
    profile = Profile.from_json(side.results["profile"], config.run)
    # What a harness's own prompt was, an imported run does not hold.
    asked = _question if "imported" in side.results else partial(messages_of, profile=profile)
    folder = Path(config.output_dir or f"{config.run.rstrip('/')}-inspect")
    by_task: dict[str, list[Graded]] = {}
    for one in side.graded:
        by_task.setdefault(one.item.task, []).append(one)
    paths = {task: folder / f"{folder_name(task)}.json" for task in by_task}
    with output_files("tools-bench export", paths, flag="--output-dir", overwrite=config.overwrite) as files:
        for task, graded in by_task.items():
            write_json(files[task], _log(side.name, task, side.results, graded, asked))
    return list(paths.values())


def _log(model: str, task: str, results: Any, graded: Sequence[Graded], asked: Asked) -> dict[str, Any]:
    sampling = results["hashes"]["sampling"]
    names = list(dict.fromkeys(name for one in graded for name, value in one.values.items() if value is not None))
    config = {"temperature": sampling.get("temperature"), "max_tokens": sampling.get("max_new_tokens")}
    means = {name: _mean(graded, name) for name in names}
    created = results["timestamp"]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": created,
            "task": task,
            "dataset": {"name": task, "samples": len({one.item.id for one in graded})},
            "model": model,
            "config": {"epochs": sampling.get("samples", 1)},
            "scorers": [{"name": name} for name in names],
            "metadata": {KIND: graded[0].item.kind},
        },
        "plan": {"steps": [], "config": config},
        "results": {
            "total_samples": len(graded),
            "completed_samples": sum(one.answered for one in graded),
            "scores": [
                {"name": name, "scorer": name, "metrics": {"mean": {"name": "mean", "value": value}}}
                for name, value in means.items()
            ],
        },
        "stats": {"started_at": created, "completed_at": created},
        "samples": [_sample(one, model, asked) for one in graded],
    }


def _question(item: Item) -> list[Message]:
    return [Message("user", item.question)]


def _mean(graded: Sequence[Graded], name: str) -> float:
    values = [value for one in graded if (value := one.values.get(name)) is not None]
    return sum(values) / len(values)


def _sample(one: Graded, model: str, asked: Asked) -> dict[str, Any]:
    item, response = one.item, one.response
    prompt = [{"role": m.role, "content": m.content} for m in asked(item)]
    said = {"role": "assistant", "content": response.text, "source": "generate", "model": model}
    choice = {"message": said, "stop_reason": _STOPS.get(response.finish_reason, "unknown")}
    usage = {"input_tokens": response.tokens_in or 0, "output_tokens": response.tokens_out or 0}
    usage["total_tokens"] = sum(usage.values())
    scores = {
        name: {"value": value, "answer": one.answer, "explanation": one.outcome}
        for name, value in one.values.items()
        if value is not None
    }
    sample: dict[str, Any] = {
        "id": item.id,
        "epoch": response.sample + 1,
        "input": item.question,
        "target": list(item.accepted) or item.answer or item.label or "",
        "messages": [*prompt, said],
        "output": {"model": model, "choices": [choice], "completion": response.text, "usage": usage},
        "scores": scores,
        "metadata": {"kind": item.kind, **{name: list(labels) for name, labels in item.groups.items()}},
    }
    if response.error is not None:
        message = f"{response.error}: {response.message or ''}"
        sample["error"] = {"message": message, "traceback": "", "traceback_ansi": ""}
    return sample
