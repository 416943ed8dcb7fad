"""Hidden states on disk: a folder that is opened without being read.

    PREFIX/
      manifest.json                      what the rows are: reader, layers, norm, dtype, delimiter, hidden size
      shard-000000-001000.safetensors    states [n_rows, n_layers, hidden], positions [n_rows],
                                         row_pointers [n_traces + 1], prompt_states [n_traces, n_layers, hidden]
      shard-000000-001000.jsonl          one line a trace, in the order of the rows

Rows `row_pointers[i]` to `row_pointers[i + 1]` belong to line i. A shard's name is the range of traces in the input
that it covers. The safetensors file is renamed into place last, so where it exists the shard is complete.

To write: `write_manifest`, then `write_shard` for each range. To read: `open_hidden`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tools_shared.devices import torch_dtype
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file, write_json, write_jsonl

if TYPE_CHECKING:
    import torch

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"shard-(\d{6,})-(\d{6,})\.safetensors\Z")

Split = Literal["train", "calibration", "test"]


@dataclass(frozen=True)
class StatesManifest:
    """What the rows of a folder are. All shards of a folder share it.

    `reader_sha256` is that of the weights that read the traces, `layers` the indices of the hidden states kept
    (0 is the embedding, k the output of block k), `norm` whether the final norm was applied to the last one ("post")
    or not ("pre"), `dtype` one of fp32, bf16, fp16. `profile` is the prompt profile's JSON form, `n_input` how many
    traces the input file has, `template_sha256` that of the chat template, where the tokenizer has one.
    """

    model: str
    reader_sha256: str
    layers: tuple[int, ...]
    hidden_size: int
    norm: Literal["pre", "post"] = "post"
    dtype: str = "fp16"
    delimiter: str = "\n\n"
    tokenizer: str = ""
    profile: Mapping[str, Any] | None = None
    template_sha256: str | None = None
    input_sha256: str = ""
    n_input: int = 0
    shard_size: int = 1000
    engine: str = "transformers"
    compute_dtype: str = "fp32"
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> StatesManifest:
        """Raises ToolError, naming `where`, when keys are missing or of a newer format."""
        version = data.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise ToolError(f"{where}: format {version} is not one this tool reads ({SCHEMA_VERSION}); update the tool")
        names = {f.name for f in dataclasses.fields(cls)}
        required = {"model", "reader_sha256", "layers", "hidden_size", "norm", "dtype"}
        if missing := sorted(required - set(data)):
            raise ToolError(f"{where}: {', '.join(missing)} missing; extract the hidden states again")
        return cls(**{**{k: v for k, v in data.items() if k in names}, "layers": tuple(data["layers"])})

    def differences(self, other: StatesManifest, fields: Sequence[str] | None = None) -> list[str]:
        """`name: mine, theirs` for each field that differs; `fields` limits which are compared."""
        mine, theirs = self.to_json(), other.to_json()
        names = fields if fields is not None else list(mine)
        return [f"{name} {mine[name]!r} and {theirs[name]!r}" for name in names if mine[name] != theirs[name]]

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


READER_FIELDS = ("reader_sha256", "layers", "norm", "hidden_size", "delimiter")
"""What has to agree before a scorer trained on one folder reads another."""


@dataclass(frozen=True)
class TraceInfo:
    """One trace of a shard, without its states.

    `group` names the questions that near-duplicates put together (the question's own id where no file said so);
    splits never cut through a group. `is_correct` is None where no ground truth was known. `mean_logprob` is the
    sampler's mean token log-probability, where it was kept. `step_labels` says of each row whether its step is right,
    where the data label steps and not only answers.
    """

    trace_id: str
    question_id: str
    is_correct: bool | None
    split: Split
    group: str
    prompt_len: int
    n_tokens: int
    extracted_answer: str | None = None
    ground_truth: str | None = None
    mean_logprob: float | None = None
    step_labels: tuple[bool, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None or k == "is_correct"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str) -> TraceInfo:
        labels = data.get("step_labels")
        try:
            return cls(**{**data, "step_labels": None if labels is None else tuple(labels)})
        except TypeError as error:
            raise ToolError(f"{where}: not a trace of this format ({error}); extract this shard again") from error


@dataclass(frozen=True)
class Rows:
    """The rows of a shard.

    `states` [n_rows, n_layers, hidden]; `positions` [n_rows] int32, the boundary's index in the trace's full token ids
    (prompt included); `row_pointers` [n_traces + 1] int64; `prompt_states` [n_traces, n_layers, hidden], those at the
    last token of the prompt, from which it can be seen how far the question alone goes.
    """

    states: torch.Tensor
    positions: torch.Tensor
    row_pointers: torch.Tensor
    prompt_states: torch.Tensor

    @classmethod
    def join(cls, traces: Sequence[tuple[Sequence[int], torch.Tensor]], prompts: torch.Tensor) -> Rows:
        """From each trace's positions and its states [n, n_layers, hidden]; a trace may have none."""
        import torch

        lengths = torch.tensor([len(positions) for positions, _ in traces], dtype=torch.int64)
        pointers = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        flat = [position for positions, _ in traces for position in positions]
        return cls(
            torch.cat([states for _, states in traces]), torch.tensor(flat, dtype=torch.int32), pointers, prompts
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        return {field.name: getattr(self, field.name).contiguous() for field in dataclasses.fields(self)}


def shard_path(folder: str | Path, start: int, end: int) -> Path:
    return Path(folder) / f"shard-{start:06d}-{end:06d}.safetensors"


def write_manifest(folder: str | Path, manifest: StatesManifest) -> None:
    """Make the folder and its manifest, or check that the one there says the same.

    Raises ToolError naming what differs: rows of two configurations never stand in one folder.
    """
    path = Path(folder) / MANIFEST
    if path.exists():
        if different := read_manifest(folder).differences(manifest):
            raise ToolError(
                f"{path}: made with another configuration ({'; '.join(different)}); "
                "go on with the old one, or choose another --output-path"
            )
        return
    write_json(path, manifest.to_json())


def read_manifest(folder: str | Path) -> StatesManifest:
    """Raises ToolError when the folder is missing or is not one of hidden states."""
    path = Path(folder) / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError(f"{folder}: no hidden states here (no {MANIFEST}); run `tools-scorer extract` first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ToolError(f"{path}: not valid JSON ({error}); extract the hidden states again") from error
    return StatesManifest.from_json(data, str(path))


def write_shard(folder: str | Path, start: int, end: int, traces: Sequence[TraceInfo], rows: Rows) -> Path:
    """Write traces `start` to `end` (half-open, in the input's order); the same input gives the same bytes.

    Raises ToolError when the shapes contradict the manifest, or a state is NaN or infinite, naming the trace.
    """
    from safetensors.torch import save

    manifest = read_manifest(folder)
    _check_shapes(manifest, traces, rows)
    _check_finite(manifest, traces, rows)
    path = shard_path(folder, start, end)
    write_jsonl(path.with_suffix(".jsonl"), (trace.to_json() for trace in traces))
    tensors = rows.tensors()
    facts = {
        "manifest": manifest.digest,
        "traces": sha256_file(path.with_suffix(".jsonl")),
        "tensors": tensors_sha256(tensors),
    }
    # One key only: safetensors writes several in an order that changes from process to process.
    content = save(tensors, metadata={"shard": json.dumps(facts)})
    with atomic_write(path, "wb") as file:
        file.write(content)
    return path


def _check_shapes(manifest: StatesManifest, traces: Sequence[TraceInfo], rows: Rows) -> None:
    n_rows, n_traces, row = int(rows.row_pointers[-1]), len(traces), (len(manifest.layers), manifest.hidden_size)
    wanted = [(n_rows, *row), (n_rows,), (n_traces + 1,), (n_traces, *row)]
    given = [tuple(getattr(rows, field.name).shape) for field in dataclasses.fields(rows)]
    if given != wanted:
        raise ToolError(
            f"states, positions, row pointers and prompt states of shapes {given} do not fit {n_traces} traces "
            f"and the manifest's (n_layers, hidden) {row}: {wanted}"
        )
    if rows.states.dtype != torch_dtype(manifest.dtype):
        raise ToolError(f"states are {rows.states.dtype}, and the manifest says {manifest.dtype}")


def _check_finite(manifest: StatesManifest, traces: Sequence[TraceInfo], rows: Rows) -> None:
    import torch

    wider = "; its values may not fit 16 bits, use --dtype bf16 or fp32" if manifest.dtype == "fp16" else ""
    if not _all_finite(rows.prompt_states):
        bad = int((~torch.isfinite(rows.prompt_states)).flatten(1).any(1).nonzero()[0])
        raise ToolError(f"trace {traces[bad].trace_id}: the state at the prompt's end is not finite{wider}")
    if _all_finite(rows.states):
        return
    bad = int((~torch.isfinite(rows.states)).flatten(1).any(1).nonzero()[0])
    trace = traces[int(torch.searchsorted(rows.row_pointers, bad, right=True)) - 1]
    raise ToolError(f"trace {trace.trace_id}: a hidden state at token {int(rows.positions[bad])} is not finite{wider}")


def _all_finite(states: torch.Tensor) -> bool:
    """Both ends are finite when all are (NaN wins either); without that, a mask as large as the states is needed."""
    import torch

    return not states.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(states))).all())


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """One hash over the bytes of the tensors, in the order of their names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(memoryview(tensors[name].contiguous().flatten().view(torch.uint8).numpy()))
    return total.hexdigest()


def shard_files(folder: str | Path) -> list[tuple[int, int, Path]]:
    """(start, end, path) of the finished shards, in order; raises ToolError when two cover the same traces."""
    found = []
    for path in Path(folder).iterdir():
        if match := _NAME.match(path.name):
            found.append((int(match[1]), int(match[2]), path))
    found.sort()
    for (_, end, path), (start, _, following) in itertools.pairwise(found):
        if start < end:
            raise ToolError(f"{following}: covers traces that {path.name} also covers; remove one of the two")
    return found
