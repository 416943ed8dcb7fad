"""Opening a folder of hidden states: headers are read and checked, rows stay on the disk until they are looked at."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tools_shared.devices import STORED
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.states.shards import (
    MANIFEST,
    Rows,
    StatesManifest,
    TraceInfo,
    read_manifest,
    shard_files,
    tensors_sha256,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shard:
    """One shard: traces `start` to `end` of the input. Its tensors are views of the mapped file, read when touched.

    `positions` and `row_pointers` are as `tools_shared.states.shards.Rows` says.
    """

    path: Path
    start: int
    end: int
    positions: torch.Tensor
    row_pointers: torch.Tensor
    facts: dict[str, str] = field(repr=False)

    @property
    def n_rows(self) -> int:
        return len(self.positions)

    @property
    def n_traces(self) -> int:
        return len(self.row_pointers) - 1

    def states(self) -> torch.Tensor:
        """[n_rows, n_layers, hidden] in the stored dtype, without a copy; do not write to it."""
        return self._tensor("states")

    def prompt_states(self) -> torch.Tensor:
        """[n_traces, n_layers, hidden]: each trace's state at the end of its prompt, as `states`."""
        return self._tensor("prompt_states")

    def _tensor(self, name: str) -> torch.Tensor:
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name)

    def traces(self) -> list[TraceInfo]:
        """The shard's traces; raises ToolError when the file is not the one that was written with the states."""
        path = self.path.with_suffix(".jsonl")
        if not path.exists() or sha256_file(path) != self.facts["traces"]:
            raise _corrupt(path, "it is not the one that was written with these states")
        with path.open(encoding="utf-8") as file:
            return [TraceInfo.from_json(json.loads(line), f"{path}:{n}") for n, line in enumerate(file, start=1)]

    def verify(self) -> None:
        """Read everything and compare with the hashes of when it was written; raises ToolError naming the shard."""
        self.traces()
        rows = Rows(self.states(), self.positions, self.row_pointers, self.prompt_states())
        if tensors_sha256(rows.tensors()) != self.facts["tensors"]:
            raise _corrupt(self.path, "its bytes are not those that were written")


@dataclass(frozen=True)
class Hidden:
    """A folder of hidden states. `shards` are in the order of the input; `n_rows` and `n_traces` count all of them."""

    path: Path
    manifest: StatesManifest
    shards: tuple[Shard, ...]

    @property
    def n_rows(self) -> int:
        return sum(shard.n_rows for shard in self.shards)

    @property
    def n_traces(self) -> int:
        return sum(shard.n_traces for shard in self.shards)

    def verify(self) -> None:
        """Read every shard and compare with its hashes: before rows are used, so that none that has rotted is."""
        for shard in self.shards:
            shard.verify()

    def missing(self) -> list[tuple[int, int]]:
        """Ranges of the input's traces that no shard covers."""
        edges = [(0, 0), *((s.start, s.end) for s in self.shards), (self.manifest.n_input, self.manifest.n_input)]
        return [(end, start) for (_, end), (start, _) in itertools.pairwise(edges) if start > end]

    def __iter__(self) -> Iterator[tuple[TraceInfo, torch.Tensor, torch.Tensor]]:
        """Each trace with its positions [n] and its states [n, n_layers, hidden], as views."""
        for shard in self.shards:
            states, bounds = shard.states(), shard.row_pointers.tolist()
            for trace, begin, end in zip(shard.traces(), bounds, bounds[1:], strict=False):
                yield trace, shard.positions[begin:end], states[begin:end]


def open_hidden(folder: str | Path) -> Hidden:
    """Open what `tools-scorer extract` wrote: that folder, or the one that it alone lies in, as STEP's `--train_dir` is
    given. Nothing is skipped: a shard that cannot be used is an error.

    Raises ToolError naming the shard that is torn, of another configuration, or of other dimensions than the manifest,
    and for a folder with several such folders.
    """
    folder = _manifest_folder(Path(folder))
    manifest = read_manifest(folder)
    shards = tuple(check_shard(manifest, *found) for found in shard_files(folder))
    if not shards:
        raise ToolError(f"{folder}: has no finished shard; run `tools-scorer extract` to its end")
    return Hidden(Path(folder), manifest, shards)


def _manifest_folder(folder: Path) -> Path:
    if (folder / MANIFEST).exists():
        return folder
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if len(inside) > 1:
        raise ToolError(f"{folder}: has {len(inside)} folders of hidden states; name one, such as {inside[0]}")
    return inside[0] if inside else folder


def check_shard(manifest: StatesManifest, start: int, end: int, path: Path) -> Shard:
    """Open one shard; raises ToolError naming it when it is torn or contradicts the manifest."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("shard", "{}"))
            stored = file.get_slice("states")
            shape, dtype = stored.get_shape(), STORED.get(stored.get_dtype())
            # Copies: a view of two small tensors would keep the whole file mapped.
            positions, pointers = (file.get_tensor(name).clone() for name in ("positions", "row_pointers"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise _corrupt(path, " ".join(str(error).split())) from error
    if facts.get("manifest") != manifest.digest:
        raise ToolError(f"{path}: made with another configuration than the manifest beside it; extract it again")
    wanted = [int(pointers[-1]), len(manifest.layers), manifest.hidden_size]
    if shape != wanted or dtype != manifest.dtype or len(positions) != shape[0]:
        raise ToolError(
            f"{path}: states {shape} {dtype} with {len(positions)} positions, and {path.parent / 'manifest.json'} "
            f"says {wanted} {manifest.dtype}; extract this shard again"
        )
    return Shard(path, start, end, positions, pointers, facts)


def _corrupt(path: Path, why: str) -> ToolError:
    return ToolError(f"{path}: corrupt ({why}); remove this shard and run `tools-scorer extract` again")
