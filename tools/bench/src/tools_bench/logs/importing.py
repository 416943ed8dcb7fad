"""`tools-bench import`: another harness's log as a run of this tool, graded by our grader beside its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import ITEMS
from tools_bench.config import ImportConfig
from tools_bench.grading.grade import grade_all, grader_sha256
from tools_bench.grading.results import as_text, headline_metrics, summarize
from tools_bench.logs import inspect_ai, lighteval, lm_eval, nemo
from tools_bench.logs.entry import Log
from tools_bench.logs.items import items_of, kinds_of, responses_of
from tools_bench.logs.verdicts import as_lines, beside
from tools_bench.requests.facts import effort, prompt_hash
from tools_bench.requests.journal import FILE as RESPONSES
from tools_bench.requests.plan import folder_name
from tools_bench.run import write_outputs
from tools_shared.cli import Invocation
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, write_jsonl
from tools_shared.prompts import DEFAULT_PROFILE, load_profile
from tools_shared.runs import draft, finished
from tools_shared.runs.read import Manifest

READERS: dict[str, Callable[[Path], Log]] = {
    "lm-eval": lm_eval.read,
    "inspect": inspect_ai.read,
    "lighteval": lighteval.read,
    "nemo": nemo.read,
}
THEIRS = "theirs.jsonl"
DIFFERENCES = "differences.jsonl"


def run_import(config: ImportConfig, invocation: Invocation) -> Manifest:
    """Read a log and publish it as `outputs/benchmarks/MODEL` (or --output-dir); nothing is asked of a model.

    Raises ToolError for a path that holds no log of that harness, and where no line of it can be used.
    """
    path = Path(config.path)
    if not path.exists():
        raise ToolError(f"{path}: no such file or folder; name a log of {config.harness}")
    log = READERS[config.harness](path)
    n_read = len(log.replies) + len(log.rejected)
    say(f"{n_read} replies read, {len(log.replies)} used, {len(log.rejected)} rejected")
    if not log.replies:
        first = f"; first: {log.rejected[0].origin}: {log.rejected[0].reason}" if log.rejected else ""
        raise ToolError(f"{path}: no reply that can be used{first}")
    name = config.model_name or log.model
    folder = Path(config.output_dir or Path("outputs/benchmarks") / folder_name(name))
    if done := finished(folder, config):
        return done
    kinds = kinds_of(log.replies)
    items = items_of(log.replies, kinds)
    responses = responses_of(log.replies, items)
    logged = {(r.task, items[r.task, r.doc].id, r.sample): r for r in log.replies}
    profile = load_profile(DEFAULT_PROFILE)
    with draft(folder, config, invocation, "bench") as run:
        for file in log.files:
            run.add_input(Path(file).name, file, sha256_file(Path(file)))
        run.reject(log.rejected)
        write_jsonl(run.path / ITEMS, (item.to_json() for item in items.values()))
        write_jsonl(run.path / RESPONSES, (response.to_json() for response in responses.values()))
        graded = grade_all(list(items.values()), responses, profile)
        table, differences = beside(graded, logged)
        write_jsonl(run.path / THEIRS, (_theirs(key, reply.verdicts, reply.extracted) for key, reply in logged.items()))
        write_jsonl(run.path / DIFFERENCES, differences)
        results = _facts(log, name, items, profile.to_json()) | summarize(graded, tells_format=False)
        results |= {"theirs": table, "effort": effort(responses, 0.0)}
        write_outputs(run.path, run.debug_path(".csv"), results, graded)
        say("\n".join([as_text(results), *as_lines(table), f"{len(differences)} differences, each in {DIFFERENCES}"]))
        return run.finish(headline_metrics(results), profile=profile.name)


def _theirs(key: tuple[str, str, int], verdicts: Any, extracted: Any) -> dict[str, Any]:
    task, name, sample = key
    return {"task": task, "id": name, "sample": sample, "verdicts": dict(verdicts), "extracted": dict(extracted)}


def _facts(log: Log, name: str, items: dict, profile: dict[str, Any]) -> dict[str, Any]:
    """What a comparison has to check, as a run of ours says it."""
    prompts: dict[str, dict[str, tuple[str, ...]]] = {}
    for reply in log.replies:
        prompts.setdefault(reply.task, {}).setdefault(reply.doc, reply.prompt)
    data: dict[str, list[Any]] = {}
    for item in items.values():
        data.setdefault(item.task, []).append(item.to_json())
    transport = "chat" if log.is_chat else "text"
    return {
        "model_name": name,
        "endpoint": None,
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": f"{log.harness} {log.version}".strip(),
        "suite_given": None,
        "model_path": None,
        "profile": profile,
        "tells_format": False,
        "hashes": {
            "data": {task: digest(rows) for task, rows in data.items()},
            "prompt": {task: prompt_hash(list(by_doc.values()), transport) for task, by_doc in prompts.items()},
            "sampling": dict(log.sampling),
        },
        "grader": grader_sha256(),
        "chosen_metrics": {},
        "imported": {"harness": log.harness, "version": log.version, "files": [Path(f).name for f in log.files]},
    }
