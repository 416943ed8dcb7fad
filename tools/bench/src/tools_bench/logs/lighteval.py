"""Logs of lighteval: `--save-details` writes a Parquet file a task (columns `doc`, `model_response` and `metric`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools_bench.logs.entry import Log, LoggedReply, verdict
from tools_shared.errors import ToolError
from tools_shared.records import Rejected
from tools_shared.sources import as_list, read_rows

_NAME = re.compile(r"details_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.:-]+")
_COLUMNS = ("doc", "model_response", "metric")


def read(path: Path) -> Log:
    """Read a details file (Parquet, or JSON lines of the same columns), or every one in a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("details_*.parquet"))
    if not files:
        raise ToolError(f"{path}: no details_*.parquet in it; run lighteval with --save-details")
    # Folders are details/MODEL/TIME/.
    log = Log("lighteval", "", files[0].parent.parent.name or "lighteval", is_chat=False)
    for file in files:
        log.files.append(str(file))
        named = _NAME.fullmatch(file.stem)
        for number, row in enumerate(read_rows(str(file))):
            if isinstance(row, Rejected):
                log.rejected.append(row)
                continue
            try:
                log.replies += _replies(named["task"] if named else file.stem, number, row.data)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                reason = f"no row of lighteval's details ({type(error).__name__}: {error})"
                log.rejected.append(Rejected(row.origin, reason))
    log.sampling = {"samples": 1 + max((reply.sample for reply in log.replies), default=0)}
    return log


def _replies(task: str, number: int, data: Mapping[str, Any]) -> list[LoggedReply]:
    doc, response, metric = (_mapping(data[name]) for name in _COLUMNS)
    options = [str(one).strip() for one in as_list(doc["choices"]) or [doc["choices"]]]
    gold = as_list(doc["gold_index"]) or [doc["gold_index"]]
    accepted = tuple(options[int(i)] for i in gold)
    prompt = response.get("input") or doc["query"]
    texts = (
        tuple(str(message["content"]) for message in prompt)
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], Mapping)
        else (str(prompt),)
    )
    verdicts = {name: found for name, value in metric.items() if (found := verdict(value)) is not None}
    replies = as_list(response.get("text")) or []
    if not replies:  # by log-probability
        scores = [float(one) for one in as_list(response["logprobs"]) or ()]
        replies = [options[max(range(len(scores)), key=scores.__getitem__)]]
    name = str(doc.get("id") or number)
    return [
        LoggedReply(
            task,
            name,
            i,
            str(doc["query"]),
            accepted,
            texts,
            str(text),
            verdicts if i == 0 else {},
            kind="match" if len(options) > 1 else None,
        )
        for i, text in enumerate(replies)
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, Mapping):
        raise TypeError("a column is no object; logs of lighteval before 0.9 have other columns and cannot be read")
    return found
