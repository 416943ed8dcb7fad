"""A folder of the known pipeline's .pt files as hidden states: turned into shards once, beside the run.

Those files hold states, question and label. What they lack stays unknown: where a step ends (steps are numbered), the
state of the prompt, the reader. The split is made by question here, which the files do not have.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.exports import read_pt
from tools_scorer.hidden import Hidden, open_hidden
from tools_shared.cli import say
from tools_shared.config import digest
from tools_shared.errors import ToolError, brief
from tools_shared.files import sha256_file
from tools_shared.hidden.shards import MANIFEST, Manifest, Rows, TraceInfo, write_manifest, write_shard
from tools_shared.hidden.splits import CALIBRATION_SHARE, TEST_SHARE, question_key, split_of

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
    first = _states(read_pt(files[0])[0], files[0], 0)
    sha256 = digest([sha256_file(path) for path in files])
    manifest = Manifest(
        READER, sha256, tuple(range(first.shape[1])), first.shape[2], dtype="fp32", input_sha256=sha256, n_input=0
    )
    if made.exists():
        write_manifest(made, manifest)  # refuses another configuration's
        return open_hidden(made)
    # Under another name until it is whole: a file that cannot be used leaves nothing in the way of the next try.
    draft = made.with_name(f".{made.name}.{secrets.token_hex(4)}")
    try:
        write_manifest(draft, manifest)
        start = 0
        for path in files:
            start = _convert(path, draft, start, tuple(first.shape[1:]))
        draft.rename(made)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    say(f"{made}: the states of {len(files)} .pt files as shards; evaluate with --data {made}")
    return open_hidden(made)


def _convert(path: Path, folder: Path, start: int, shape: tuple[int, ...]) -> int:
    """One file as one shard, all states of `shape` [n_layers, hidden]; returns where the next begins."""
    import torch

    entries = read_pt(path)
    traces, parts = [], []
    for i, entry in enumerate(entries):
        states = _states(entry, path, i)
        if tuple(states.shape[1:]) != shape:
            raise ToolError(
                f"{path}: entry {i} has states of [layers, hidden] {list(states.shape[1:])}, the first file's first "
                f"entry {list(shape)}; all have to be of one model"
            )
        group = question_key(str(entry["question"]))
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
        raise ToolError(f"{path}: entry {number}: select_hidden_states is no tensor of real numbers")
    if not isinstance(entry["is_correct"], bool | int):
        raise ToolError(f"{path}: entry {number}: is_correct is {brief(entry['is_correct'], 40)}, not true or false")
    if states.ndim not in (2, 3) or not states.numel():
        raise ToolError(
            f"{path}: entry {number}: states of shape {list(states.shape)}; expected [steps, hidden] or "
            "[layers, steps, hidden], none of them 0"
        )
    states = states.float()
    return states[:, None] if states.ndim == 2 else states.permute(1, 0, 2)
