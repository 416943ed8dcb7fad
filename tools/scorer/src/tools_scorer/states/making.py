"""Make one shard: a backbone's states of some traces, written atomically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools_scorer.readers import Reader, ReaderOptions
from tools_scorer.traces.files import Trace, TracesFile
from tools_shared.devices import torch_dtype
from tools_shared.files.locks import locked
from tools_shared.states.shards import Rows, StatesManifest, shard_path, write_shard


@dataclass(frozen=True)
class Job:
    """Everything that is known before the weights are loaded: picklable, so that a worker elsewhere can do a part."""

    folder: Path
    traces: TracesFile
    manifest: StatesManifest
    reader: ReaderOptions
    engine: str


def make_shard(job: Job, reader: Reader, start: int, end: int) -> int:
    """Read traces `start` to `end` and write their shard; returns how many there were. Raises ToolError when another
    process is at it."""
    path = shard_path(job.folder, start, end)
    busy = f"{path}: another process is writing this shard; give each its own --shard, or wait for it"
    with locked(path.with_name(f".{path.name}.lock"), busy):
        traces = list(job.traces.read(start, end))
        write_shard(job.folder, start, end, [trace.info for trace in traces], read_rows(reader, traces, job.manifest))
    return len(traces)


def read_rows(reader: Reader, traces: list[Trace], manifest: StatesManifest) -> Rows:
    """The rows of a shard, filled in place as the batches come, so that nothing is held twice."""
    import torch

    lengths = torch.tensor([len(trace.positions) - 1 for trace in traces])
    pointers = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    row = (len(manifest.layers), manifest.hidden_size)
    states = torch.empty(int(pointers[-1]), *row, dtype=torch_dtype(manifest.dtype))
    prompts = torch.empty(len(traces), *row, dtype=states.dtype)
    for i, found in reader.read(traces):
        prompts[i] = found[0]
        states[pointers[i] : pointers[i + 1]] = found[1:]
    positions = torch.tensor([position for trace in traces for position in trace.positions[1:]], dtype=torch.int32)
    return Rows(states, positions, pointers, prompts)
