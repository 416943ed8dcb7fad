"""A folder of STEP's .pt files as hidden states: converted into shards once, beside the run.

Those files hold states, question and label. What they lack stays unknown: where a step ends (steps are numbered), the
state of the prompt, the reader. The split is made by question here, which the files do not have.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.states.folder import Hidden, open_hidden
from tools_scorer.states.pt_files import read_pt
from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.errors import ToolError, brief
from tools_shared.files import sha256_file
from tools_shared.states.shards import (
    MANIFEST,
    Rows,
    StatesManifest,
    TraceInfo,
    read_manifest,
    write_manifest,
    write_shard,
)
from tools_shared.states.splits import CALIBRATION_SHARE, TEST_SHARE, question_key, split_of

if TYPE_CHECKING:
    import torch

READER = "the reader of .pt files"


def open_states(folder: str | Path, beside: Path) -> Hidden:
    """The hidden states in a folder; for .pt files those of `BESIDE-hidden`, made now if they are not there.

    Raises ToolError when the folder holds neither.
    """
    files = sorted(Path(folder).glob("*.pt")) if not (Path(folder) / MANIFEST).exists() else []
    if not files:
        return open_hidden(folder)
    made = beside.with_name(f"{beside.name}-hidden")
    n_layers, size = _check(files)
    sha256 = digest([sha256_file(path) for path in files])
    manifest = StatesManifest(
        READER, sha256, tuple(range(n_layers)), size, dtype="fp32", input_sha256=sha256, n_input=0
    )
    if made.exists():
        if not (made / MANIFEST).exists() or read_manifest(made).input_sha256 != sha256:
            raise ToolError(
                f"{made}: was not made from the .pt files now in {folder}; remove it, or choose another --output-dir"
            )
        return open_hidden(made)
    # Under another name until it is whole: a file that cannot be used leaves nothing in the way of the next try.
    draft = made.with_name(f".{made.name}.{secrets.token_hex(4)}")
    try:
        write_manifest(draft, manifest)
        start = 0
        for path in files:
            start = _convert(path, draft, start)
        draft.rename(made)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"{made}: the states of {len(files)} .pt files as shards; evaluate with --data {made}")
    return open_hidden(made)


def _check(files: Sequence[Path]) -> tuple[int, int]:
    """Look at every entry of every file before anything is made of them; returns [n_layers, hidden] of all."""
    shape: tuple[int, int] | None = None
    for path in files:
        for i, entry in enumerate(read_pt(path)):
            states = _states(entry, path, i)
            found = (states.shape[1], states.shape[2])
            shape = shape or found
            if found != shape:
                raise ToolError(
                    f"{path}: entry {i} has states of [layers, hidden] {list(found)}, the first file's first "
                    f"entry {list(shape)}; all have to be of one model"
                )
            _check_finite(states, path, i)
    assert shape is not None  # read_pt refuses an empty list
    return shape


def _check_finite(states: torch.Tensor, path: Path, number: int) -> None:
    import torch

    wrong = (~torch.isfinite(states)).nonzero()
    if len(wrong):
        step, layer, column = wrong[0].tolist()
        raise ToolError(
            f"{path}: entry {number}: step {step} has {states[step, layer, column]} in column {column}; "
            "leave the entry out, or extract it again in fp32 or bf16"
        )


def _convert(path: Path, folder: Path, start: int) -> int:
    """One file as one shard; returns where the next begins."""
    import torch

    entries = read_pt(path)
    traces, parts = [], []
    for i, entry in enumerate(entries):
        states = _states(entry, path, i)
        group = question_key(entry["question"])
        split = split_of(group, 0, CALIBRATION_SHARE, TEST_SHARE)
        name, n = f"{path.stem}/{i}", len(states)
        traces.append(TraceInfo(name, group, bool(entry["is_correct"]), split, group, prompt_len=0, n_tokens=n))
        parts.append((range(n), states))
    write_shard(
        folder, start, start + len(entries), traces, Rows.join(parts, torch.zeros(len(parts), *parts[0][1].shape[1:]))
    )
    return start + len(entries)


def _states(entry: dict[str, Any], path: Path, number: int) -> torch.Tensor:
    """[n_steps, n_layers, hidden] in fp32; in those files it is [n_steps, hidden] or [n_layers, n_steps, hidden]."""
    import torch

    states = entry["select_hidden_states"]
    if not isinstance(states, torch.Tensor) or not states.is_floating_point() or states.is_sparse:
        raise ToolError(f"{path}: entry {number}: select_hidden_states is not a tensor of real numbers")
    if not isinstance(entry["is_correct"], bool | int) or entry["is_correct"] not in (0, 1):
        raise ToolError(f"{path}: entry {number}: is_correct is {brief(entry['is_correct'], 40)}, not true or false")
    if not isinstance(entry["question"], str) or not entry["question"].strip():
        raise ToolError(f"{path}: entry {number}: question is {brief(entry['question'], 40)}, not text")
    if states.ndim not in (2, 3) or not states.numel():
        raise ToolError(
            f"{path}: entry {number}: states of shape {list(states.shape)}; expected [steps, hidden] or "
            "[layers, steps, hidden], none of them 0"
        )
    states = states.float()
    return states[:, None] if states.ndim == 2 else states.permute(1, 0, 2)
