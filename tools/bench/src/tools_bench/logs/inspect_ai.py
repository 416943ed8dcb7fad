"""Logs of inspect_ai: `.eval` archives, and the JSON files that `inspect log convert` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools_bench.logs.archive import members
from tools_bench.logs.entry import Log, LoggedReply, verdict
from tools_bench.logs.verdicts import OURS
from tools_bench.requests.journal import UNKNOWN
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.records import Origin, Rejected

KIND = "tools_bench_kind"
"""The key in the metadata of our own exports that tells the kind of a task's items."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_STOPS = {"stop": "stop", "max_tokens": "length", "model_length": "length"}


def read(path: Path) -> Log:
    """Read a log file, or every one in a folder. Raises ToolError where there is none, or models differ."""
    found = [path] if path.is_file() else sorted([*path.rglob("*.eval"), *path.rglob("*.json")])
    files = [file for file in found if not file.name.startswith(".")]
    if not files:
        raise ToolError(f"{path}: no .eval and no .json log in it; name inspect's --log-dir or one of its files")
    log: Log | None = None
    for file in files:
        header, samples = _open(file)
        about = header["eval"]
        if log is None:
            version = str(about.get("packages", {}).get("inspect_ai", ""))
            log = Log("inspect", version, str(about["model"]), is_chat=True)
        elif log.model != about["model"]:
            raise ToolError(f"{path}: logs of two models, {log.model} and {about['model']}; name one file")
        if header.get("status") != "success":
            say(f"{file}: its status is '{header.get('status')}'; what it holds is read")
        log.files.append(str(file))
        config = header.get("plan", {}).get("config", {})
        epochs = about.get("config", {}).get("epochs") or 1
        log.sampling = {
            "temperature": config.get("temperature"),
            "top_p": config.get("top_p"),
            "max_new_tokens": config.get("max_tokens"),
            "samples": epochs,
        }
        kind = (about.get("metadata") or {}).get(KIND)
        _read_samples(file, str(about["task"]), kind if kind in OURS else None, samples, log)
    assert log is not None
    return log


def _open(file: Path) -> tuple[Mapping[str, Any], Iterator[tuple[str, Any]]]:
    try:
        if file.suffix == ".eval":
            header = dict(members(file, "header"))["header.json"]
            samples = members(file, "samples/")
        else:
            header = json.loads(file.read_text(encoding="utf-8"))
            samples = ((f"sample {i + 1}", one) for i, one in enumerate(header.get("samples") or ()))
        if not isinstance(header["eval"]["model"], str):
            raise TypeError("eval.model is no text")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ToolError(f"{file}: no log of inspect_ai ({type(error).__name__}: {error})") from error
    return header, samples


def _read_samples(file: Path, task: str, kind: str | None, samples: Iterator[tuple[str, Any]], log: Log) -> None:
    for number, (name, sample) in enumerate(samples, start=1):
        try:
            log.replies.append(_reply(task, kind, sample))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            reason = f"{name} has not the shape of inspect's samples ({type(error).__name__}: {error})"
            log.rejected.append(Rejected(Origin(str(file), number), reason))


def _reply(task: str, kind: str | None, sample: Mapping[str, Any]) -> LoggedReply:
    asked = list(sample["messages"])
    first = next((i for i, m in enumerate(asked) if m["role"] == "assistant"), len(asked))
    prompt = tuple(_text(m["content"]) for m in asked[:first])
    given = sample["input"]
    question = given if isinstance(given, str) else [_text(m["content"]) for m in given if m["role"] == "user"][-1]
    output = sample.get("output") or {}
    choices = output.get("choices") or [{}]
    usage = output.get("usage") or {}
    error = sample.get("error") or output.get("error")
    scores = sample.get("scores") or {}
    verdicts = {name: value for name, one in scores.items() if (value := verdict(one.get("value"))) is not None}
    said = {name: str(one["answer"]) for name, one in scores.items() if one.get("answer") is not None}
    return LoggedReply(
        task,
        str(sample["id"]),
        int(sample["epoch"]) - 1,
        question,
        _accepted(sample),
        prompt,
        str(output.get("completion") or ""),
        verdicts,
        said,
        _STOPS.get(choices[0].get("stop_reason", ""), UNKNOWN),
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        str(error["message"] if isinstance(error, Mapping) else error) if error else None,
        kind or ("match" if sample.get("choices") else None),
    )


def _accepted(sample: Mapping[str, Any]) -> tuple[str, ...]:
    """The targets; of a letter the option too."""
    target = sample["target"]
    targets = [str(one) for one in (target if isinstance(target, list) else [target])]
    options: Sequence[str] = sample.get("choices") or ()
    named = [options[i] for one in targets if len(one) == 1 and 0 <= (i := _LETTERS.find(one)) < len(options)]
    return tuple(dict.fromkeys([*targets, *map(str, named)]))


def _text(content: Any) -> str:
    """A message's content: text, or a list of parts of which those with text count."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
