"""STEP's file of hidden states: a list of dictionaries, saved with torch.

It is a pickle, and the whole of it has to be in memory; so it is written for those who go on with that pipeline, and
read with `weights_only=True` alone, which runs no code.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools_scorer.states.folder import Hidden
from tools_scorer.traces.files import TracesFile
from tools_shared.errors import ToolError, brief
from tools_shared.files import atomic_write
from tools_shared.files.outputs import output_files

KEYS = ("select_hidden_states", "full_input_ids", "full_forward_text", "original_response", "question", "is_correct")


def export_pt(
    hidden: Hidden, traces: TracesFile, start: int, end: int, overwrite: bool = False, named_end: int | None = None
) -> Path:
    """Write `PREFIX_hiddenstates_START_END.pt` beside the folder PREFIX; returns its path.

    END is `named_end` where that was asked for, though it may lie beyond the last trace: so that pipeline names it.

    `select_hidden_states` is [n_steps, hidden] in fp16, as that pipeline has it. Raises ToolError when a shard of
    the range is missing. Of several layers the first is written.
    """
    import torch

    path = hidden.path.with_name(f"{hidden.path.name}_hiddenstates_{start}_{named_end or end}.pt")
    with output_files("tools-scorer extract", {"states": path}, flag="--output-dir", overwrite=overwrite) as files:
        entries = list(_entries(hidden, traces, start, end))
        if len(entries) != end - start:
            missing = end - start - len(entries)
            raise ToolError(f"{hidden.path}: {missing} traces of {start} to {end} are not extracted yet")
        with atomic_write(files["states"], "wb") as file:
            torch.save(entries, file)
    return path


def _entries(hidden: Hidden, traces: TracesFile, start: int, end: int) -> Iterator[dict[str, Any]]:
    import torch

    for shard in hidden.shards:
        if shard.end <= start or shard.start >= end:
            continue
        states, bounds = shard.states(), shard.row_pointers.tolist()
        for number, trace in enumerate(traces.read(shard.start, shard.end), start=shard.start):
            if start <= number < end:
                begin, after = bounds[number - shard.start : number - shard.start + 2]
                yield {
                    "select_hidden_states": states[begin:after, 0].half().clone(),
                    "full_input_ids": torch.tensor(trace.token_ids),
                    "full_forward_text": trace.row["prompt"] + trace.row["forward_text"],
                    "original_response": trace.row["full_text"],
                    "question": trace.row["question"],
                    "is_correct": trace.row["is_correct"],
                }


def read_pt(path: str | Path) -> list[dict[str, Any]]:
    """The entries of such a file, its tensors mapped and not copied; raises ToolError when it is not one."""
    import pickle

    import torch

    try:
        entries = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file") from None
    except pickle.UnpicklingError as error:  # its message advises to run what the file holds
        raise ToolError(
            f"{path}: not a file of tensors and plain values: it contains other objects, which can run code when read"
        ) from error
    except Exception as error:  # a broken pickle raises anything
        reason = brief(" ".join(str(error).split()), quoted=False)
        raise ToolError(
            f"{path}: not a file of tensors and plain values, and nothing else is read ({reason})"
        ) from error
    if not isinstance(entries, list):
        raise ToolError(f"{path}: contains a {type(entries).__name__}, and STEP's pipeline writes a list of entries")
    if not entries:
        raise ToolError(f"{path}: an empty list; leave this file out")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ToolError(f"{path}: entry {number} is {brief(entry, 40)}, and the known pipeline writes dictionaries")
        if missing := [key for key in KEYS if key not in entry]:
            raise ToolError(f"{path}: entry {number} has no {', '.join(missing)}")
    return entries
