"""The traces to be read: checked as a whole before a model is loaded, then taken from the file a shard at a time."""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.prompts import Profile, load_profile
from tools_shared.runs import Manifest as RunManifest
from tools_shared.runs import check_unchanged, read_manifest
from tools_shared.runs.read import MANIFEST
from tools_shared.states.reader import tokenizer_sha256
from tools_shared.states.shards import TraceInfo

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_KEYS = ("trace_id", "question_id", "is_correct", "split", "group", "prompt_len", "token_ids", "extracted_position")


@dataclass(frozen=True)
class Trace:
    """One trace to be read. `positions`: the prompt's last token, then each boundary, in `token_ids`."""

    info: TraceInfo
    token_ids: Sequence[int]
    positions: Sequence[int]
    row: Mapping[str, Any]


@dataclass(frozen=True)
class TracesFile:
    """The file of a preprocess run. `offsets` [n + 1]: where each line begins, and the end."""

    path: Path
    run: RunManifest
    offsets: array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def read(self, start: int, end: int) -> Iterator[Trace]:
        """Traces `start` to `end`, in order; raises ToolError naming the line that is not one."""
        with self.path.open("rb") as file:
            file.seek(self.offsets[start])
            for number, line in enumerate(itertools.islice(file, end - start), start=start + 1):
                yield _trace(line, f"{self.path}:{number}")

    def check(self, start: int, end: int, vocabulary: int, longest: int | None) -> None:
        """Raise ToolError for a trace that the model cannot read: unknown tokens, or more than its context holds."""
        for number, trace in enumerate(self.read(start, end), start=start + 1):
            n_read = trace.positions[-1] + 1
            if longest is not None and n_read > longest:
                raise ToolError(
                    f"{self.path}:{number}: trace {trace.info.trace_id} has {n_read} tokens to read and the model's "
                    f"context is {longest} tokens; leave it out, or read with a model of a longer context"
                )
            if max(trace.token_ids) >= vocabulary:
                raise ToolError(
                    f"{self.path}:{number}: token {max(trace.token_ids)} is beyond the model's vocabulary of "
                    f"{vocabulary}; preprocess with the tokenizer of the model that reads"
                )


def open_traces(path: str | Path) -> TracesFile:
    """Find where each line begins; raises ToolError when the file is not that of a finished preprocess run."""
    path = Path(path)
    if path.is_dir():
        raise ToolError(f"{path}: is a folder; name the .jsonl file in it")
    if not path.exists():
        raise ToolError(f"{path}: no such file; run `tools-scorer preprocess` first")
    if not (path.parent / MANIFEST).exists():
        raise ToolError(
            f"{path}: not a file that `tools-scorer preprocess` wrote (no {MANIFEST} beside it); run it first"
        )
    run = read_manifest(path.parent)
    if run.kind != "scorer_data":
        raise ToolError(f"{path.parent}: is a {run.kind} run; --data is the file that preprocess wrote")
    check_unchanged(path)
    offsets = array("q", [0])
    with path.open("rb") as file:
        for line in file:
            offsets.append(offsets[-1] + len(line))
    return TracesFile(path, run, offsets)


def check_tokenizer(traces: TracesFile, tokenizer: PreTrainedTokenizerBase, model: str) -> None:
    """Raise ToolError when the traces were made into tokens by another tokenizer, or prompts by another template."""
    made_with = next(entry for entry in traces.run.data["inputs"] if entry["name"] == "tokenizer")
    if made_with["sha256"] != tokenizer_sha256(tokenizer):
        raise ToolError(
            f"{traces.path}: made with the tokenizer of '{made_with['path']}', and {model} has another; "
            f"run `tools-scorer preprocess --model {model}`"
        )


def profile_of(traces: TracesFile) -> Profile:
    """The prompt profile that the traces were rendered with."""
    found = next(entry for entry in traces.run.data["inputs"] if entry["name"] == "tokenizer")["profile"]
    return Profile.from_json(found, str(traces.run.path)) if isinstance(found, Mapping) else load_profile(found)


def _trace(line: bytes, where: str) -> Trace:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"{where}: not valid JSON ({error}); preprocess again") from error
    if missing := [key for key in _KEYS if key not in row]:
        raise ToolError(f"{where}: {', '.join(missing)} missing; make the file with `tools-scorer preprocess`")
    token_ids, marks, prompt_len = row["token_ids"], row["extracted_position"], row["prompt_len"]
    rising = all(a < b for a, b in itertools.pairwise(marks))
    if not (marks and rising and 1 <= prompt_len <= marks[0] and marks[-1] < len(token_ids)):
        raise ToolError(f"{where}: extracted_position must rise from {prompt_len} to below {len(token_ids)}")
    labels = row.get("step_labels")
    if labels is not None and not (len(labels) == len(marks) and all(type(label) is bool for label in labels)):
        raise ToolError(f"{where}: step_labels must be true or false for each of its {len(marks)} steps")
    info = TraceInfo(
        trace_id=row["trace_id"],
        question_id=row["question_id"],
        is_correct=row["is_correct"],
        split=row["split"],
        group=row["group"],
        prompt_len=prompt_len,
        n_tokens=len(token_ids) - prompt_len,
        extracted_answer=row.get("extracted_answer"),
        ground_truth=row.get("ground_truth"),
        mean_logprob=row.get("mean_logprob"),
        step_labels=None if labels is None else tuple(labels),
    )
    return Trace(info, token_ids, (prompt_len - 1, *marks), row)
