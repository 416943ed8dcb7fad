"""Logs of lm-evaluation-harness: `--log_samples` writes `samples_TASK_TIME.jsonl`, a line for each document and filter,
beside `results_TIME.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools_bench.logs.entry import Log, LoggedReply, verdict
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.records import Rejected, Row
from tools_shared.sources import read_rows
from tools_shared.sources.problems import QUESTION_KEYS

_NAME = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")
_NO_FILTER = "none"


def read(path: Path) -> Log:
    """Read a `samples_*.jsonl` file, or the newest of each task in a folder. Raises ToolError where there is none."""
    files = _newest(path)
    facts = _facts(files[0])
    model = str(facts.get("model_name") or files[0].parent.name)
    log = Log("lm-eval", str(facts.get("lm_eval_version", "")), model, bool(facts.get("chat_template")))
    log.files = [str(file) for file in files]
    for file in files:
        _read_file(file, log)
    return log


def _newest(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.rglob("samples_*.jsonl"))
    if not files:
        raise ToolError(f"{path}: no samples_*.jsonl in it; run lm_eval with --log_samples and name its --output_path")
    by_task: dict[str, list[Path]] = {}
    for file in files:
        by_task.setdefault(_task(file), []).append(file)
    for task, found in by_task.items():
        found.sort(key=lambda file: file.name)
        if len(found) > 1:
            say(f"{path}: {len(found)} logs of task '{task}'; {found[-1].name}, the newest, is read")
    return [found[-1] for found in by_task.values()]


def _task(file: Path) -> str:
    named = _NAME.fullmatch(file.name)
    return named["task"] if named else file.stem.removeprefix("samples_")


def _facts(file: Path) -> Mapping[str, Any]:
    """The results file beside the samples: of the same time, else none."""
    named = _NAME.fullmatch(file.name)
    results = file.with_name(f"results_{named['time']}.json") if named else file.with_name("results.json")
    if not results.is_file():
        return {}
    try:
        facts = json.loads(results.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ToolError(f"{results}: not valid JSON ({error}); restore or delete the file") from error
    return facts if isinstance(facts, Mapping) else {}


def _read_file(file: Path, log: Log) -> None:
    task = _task(file)
    by_doc: dict[str, list[Row]] = {}
    for row in read_rows(str(file)):
        if isinstance(row, Rejected):
            log.rejected.append(row)
        elif not isinstance(row.data.get("resps"), list) or "doc_id" not in row.data:
            log.rejected.append(Rejected(row.origin, "no line of lm-eval's samples: it has no 'doc_id' and 'resps'"))
        else:
            by_doc.setdefault(str(row.data["doc_id"]), []).append(row)
    for doc, rows in by_doc.items():
        try:
            log.replies += _replies(task, doc, rows, log)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = f"the line has not the shape of lm-eval's samples ({type(error).__name__}: {error})"
            log.rejected.append(Rejected(rows[0].origin, reason))


def _replies(task: str, doc: str, rows: Sequence[Row], log: Log) -> list[LoggedReply]:
    data = rows[0].data
    requests = list(data["arguments"].values())
    verdicts: dict[str, float] = {}
    extracted: dict[str, str] = {}
    for row in rows:
        mine = _verdicts(row.data)
        verdicts |= mine
        given = row.data.get("filtered_resps")
        if isinstance(given, list) and given and isinstance(given[0], str):
            extracted |= dict.fromkeys(mine, given[0])
    prompt = str(requests[0]["arg_0"])
    question = _question(data["doc"], prompt)
    chosen = [isinstance(one, list) and isinstance(one[0], list) for one in data["resps"]]
    if data["resps"] and all(chosen):
        return [_chosen(task, doc, question, data, requests, verdicts)]
    settings = requests[0].get("arg_1")
    texts = [str(text) for text in data["resps"][0]]
    log.sampling = _sampling(settings if isinstance(settings, Mapping) else {}, len(texts))
    accepted = tuple(map(str, data["target"])) if isinstance(data["target"], list) else (str(data["target"]),)
    return [
        LoggedReply(task, doc, i, question, accepted, (prompt,), text, *((verdicts, extracted) if i == 0 else ({}, {})))
        for i, text in enumerate(texts)
    ]


def _verdicts(data: Mapping[str, Any]) -> dict[str, float]:
    name = data.get("filter", _NO_FILTER)
    given = {metric: verdict(data.get(metric)) for metric in data.get("metrics", [])}
    end = "" if name == _NO_FILTER else f",{name}"
    return {f"{metric}{end}": value for metric, value in given.items() if value is not None}


def _chosen(
    task: str, doc: str, question: str, data: Mapping[str, Any], requests: Sequence[Any], verdicts: dict[str, float]
) -> LoggedReply:
    """A choice by log-probability: the reply is the continuation that was likeliest."""
    options = [str(one["arg_1"]).strip() for one in requests]
    scores = [float(one[0][0]) for one in data["resps"]]
    # acc_mutual_info asks for each option once more without the question; those requests come after the others.
    options = options[: len(scores)]
    picked = options[_best(scores)]
    # acc_norm divides by the characters of the option.
    normed = options[_best([score / max(1, len(option)) for score, option in zip(scores, options, strict=True)])]
    extracted = {name: normed if name.startswith("acc_norm") else picked for name in verdicts}
    target = str(data["target"])
    gold = options[int(target)] if target.isdecimal() and int(target) < len(options) else target.strip()
    prompt = (str(requests[0]["arg_0"]),)
    return LoggedReply(task, doc, 0, question, (gold,), prompt, picked, verdicts, extracted, kind="match")


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)


def _question(doc: Any, prompt: str) -> str:
    found = (doc.get(key) for key in QUESTION_KEYS) if isinstance(doc, Mapping) else ()
    return next((text for text in found if isinstance(text, str) and text.strip()), prompt)


def _sampling(settings: Mapping[str, Any], n: int) -> dict[str, float | int | None]:
    greedy = settings.get("do_sample") is False
    return {
        "temperature": 0.0 if greedy else settings.get("temperature"),
        "top_p": settings.get("top_p", 1.0),
        "max_new_tokens": settings.get("max_gen_toks", settings.get("max_tokens")),
        "samples": n,
    }
