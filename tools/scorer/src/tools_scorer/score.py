"""`tools-scorer score`: step and trace probabilities of any traces, as JSONL."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tools_scorer.config.scorer import ScoreConfig
from tools_scorer.states.folder import open_hidden
from tools_shared.console import progress, say
from tools_shared.errors import ToolError
from tools_shared.files import write_jsonl
from tools_shared.files.outputs import output_files
from tools_shared.records import Rejected, Row
from tools_shared.scorers.scorer import TraceScore, load_scorer, summarize
from tools_shared.scorers.text import TextResponse, TextScorer, open_text_scorer
from tools_shared.sources import files_among, lookup, read_rows
from tools_shared.states.shards import MANIFEST, READER_FIELDS

_AT_ONCE = 256


def score(config: ScoreConfig) -> dict[str, Any]:
    """Write one line a trace; returns where, and how many were scored and were not.

    A row that cannot be scored keeps its line, with the reason and no score. Raises ToolError when scorer and states do
    not fit, or nothing could be read.
    """
    if config.scorer is None or config.data is None:
        raise ToolError(
            "--scorer (a run of tools-scorer train) and --data (hidden states, or rows with text) are needed"
        )
    counts = {"n_scored": 0, "n_without": 0}

    def counted() -> Iterator[dict[str, Any]]:
        for row in progress(made, label="scoring", unit="trace"):
            counts["n_without" if row.get("score") is None else "n_scored"] += 1
            yield row

    with output_files(
        "tools-scorer score", {"scores": Path(config.output_file)}, flag="--output-file", inputs=_inputs(config.data),
        overwrite=config.overwrite,
    ) as files:  # fmt: skip
        made = _of_states(config.data, config.scorer) if (Path(config.data) / MANIFEST).exists() else _of_text(config)
        write_jsonl(files["scores"], counted())
    if not counts["n_scored"]:
        raise ToolError(
            f"{config.data}: none of its {counts['n_without']} traces could be scored; see {config.output_file}"
        )
    say(f"{counts['n_scored']} traces scored, {counts['n_without']} not")
    return {"path": config.output_file, **counts}


def _inputs(spec: str) -> Iterable[Path]:
    folder = Path(spec).expanduser()
    return folder.iterdir() if folder.is_dir() else files_among(spec)


def _of_states(folder: str, scorer_spec: str) -> Iterator[dict[str, Any]]:
    scorer, hidden = load_scorer(scorer_spec), open_hidden(folder)
    scorer.check_reader(hidden.manifest.to_json(), str(hidden.path), READER_FIELDS)
    hidden.verify()
    for shard in hidden.shards:
        probabilities, bounds = scorer.probabilities(shard.states()), shard.row_pointers.tolist()
        positions = shard.positions.tolist()
        for i, trace in enumerate(shard.traces()):
            rows = scorer.read_rows(bounds[i], bounds[i + 1])
            steps = probabilities[rows]
            ends = [position + 1 - trace.prompt_len for position in positions[rows]]
            row = {"trace_id": trace.trace_id, "question_id": trace.question_id, "is_correct": trace.is_correct}
            yield row | _scores(summarize(steps) if steps else None, steps, ends, None if steps else "no step")


def _of_text(config: ScoreConfig) -> Iterator[dict[str, Any]]:
    reader = open_text_scorer(config.scorer, config.model, config.device, config.batch_tokens)
    rows = read_rows(config.data)
    while chunk := list(itertools.islice(rows, _AT_ONCE)):
        yield from _chunk(chunk, reader, config.question_key, config.response_key)


def _chunk(
    chunk: Sequence[Row | Rejected], reader: TextScorer, question_key: str, response_key: str
) -> Iterator[dict[str, Any]]:
    responses: dict[int, TextResponse] = {}
    why: dict[int, str] = {}
    for i, row in enumerate(chunk):
        if isinstance(row, Rejected):
            why[i] = row.reason
            continue
        try:
            question, text = (lookup(row.data, key) for key in (question_key, response_key))
        except KeyError as error:
            why[i] = f"no {error} in this row"
            continue
        if isinstance(question, str) and isinstance(text, str):
            responses[i] = TextResponse(question, text)
        else:
            why[i] = "question and response must be text"
    scored = dict(zip(responses, reader.score(list(responses.values())), strict=True))
    for i, row in enumerate(chunk):
        place = {"path": row.origin.path, "line": row.origin.line}
        found = scored.get(i)
        if found is None:
            yield place | _scores(None, [], [], why[i])
        else:
            yield place | _named(row) | _scores(found.score, found.steps, found.ends, found.reason)


def _named(row: Row | Rejected) -> dict[str, Any]:
    """The row's own identifiers."""
    data = row.data if isinstance(row, Row) else {}
    return {name: data[name] for name in ("trace_id", "question_id", "id", "attempt", "is_correct") if name in data}


def _scores(
    found: TraceScore | None, steps: Sequence[float], ends: Sequence[int], reason: str | None
) -> dict[str, Any]:
    told = {"score": found.to_json() if found else None, "steps": list(steps), "ends": list(ends)}
    return told if reason is None else told | {"reason": reason}


def describe(result: dict[str, Any], as_json: bool) -> str:
    return json.dumps(result, ensure_ascii=False) if as_json else str(result["path"])
