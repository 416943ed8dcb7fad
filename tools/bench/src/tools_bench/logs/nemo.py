"""Logs of NeMo-Skills: `output.jsonl`, or `output-rsN.jsonl` for each of several samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools_bench.logs.entry import Log, LoggedReply, verdict
from tools_shared.errors import ToolError
from tools_shared.records import Rejected
from tools_shared.sources import read_rows, unique_id
from tools_shared.sources.problems import QUESTION_KEYS

_VERDICTS = ("symbolic_correct", "is_correct")
_JUDGED = re.compile(r"judgement:\s*(yes|no)", re.IGNORECASE)
_SEEDED = re.compile(r"output-rs(\d+)")


def read(path: Path) -> Log:
    """Read an output file, or those of a benchmark's folder, whose name is the task's."""
    files = [path] if path.is_file() else sorted(path.rglob("output*.jsonl"), key=_order)
    files = [file for file in files if "-chunk" not in file.name]  # parts that NeMo-Skills puts together at the end
    if not files:
        raise ToolError(f"{path}: no output*.jsonl in it; name the folder of one benchmark's results")
    log = Log("nemo", "", path.parent.name or "nemo", is_chat=True)
    samples: dict[str, int] = {}
    for file in files:
        log.files.append(str(file))
        task = file.parent.name or "nemo"
        sample = samples.get(task, 0)
        samples[task] = sample + 1
        seen: set[str] = set()  # the rows of two files are in two orders: a question is known by its text
        for row in read_rows(str(file)):
            if isinstance(row, Rejected):
                log.rejected.append(row)
                continue
            try:
                log.replies.append(_reply(task, sample, row.data, seen))
            except (KeyError, TypeError, ValueError) as error:
                reason = f"no row of NeMo-Skills' output ({type(error).__name__}: {error})"
                log.rejected.append(Rejected(row.origin, reason))
    log.sampling = {"samples": max(samples.values())}
    return log


def _order(file: Path) -> tuple[str, int]:
    seeded = _SEEDED.fullmatch(file.stem)
    return str(file.parent), int(seeded[1]) if seeded else -1


def _reply(task: str, sample: int, data: Mapping[str, Any], seen: set[str]) -> LoggedReply:
    question = next((data[key] for key in QUESTION_KEYS if isinstance(data.get(key), str)), None)
    if question is None:
        raise KeyError("problem")
    verdicts = {name: float(value) for name in _VERDICTS if (value := verdict(data.get(name))) is not None}
    if judged := _JUDGED.search(str(data.get("judgement", ""))):
        verdicts["judgement"] = float(judged[1].lower() == "yes")
    taken = data.get("predicted_answer")
    extracted = {} if taken is None else dict.fromkeys(verdicts, str(taken))
    tokens = data.get("num_generated_tokens")
    return LoggedReply(
        task,
        unique_id(question, seen),
        sample,
        question,
        (str(data["expected_answer"]),),
        (question,),
        str(data["generation"]),
        verdicts,
        extracted,
        tokens_out=tokens if isinstance(tokens, int) else None,
    )
