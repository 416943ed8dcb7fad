"""From traces to shards of hidden states: finished shards are skipped, and a shard is complete or absent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools_scorer.config.states import ExtractConfig
from tools_scorer.readers import ReaderOptions, open_reader
from tools_scorer.states.folder import Hidden, check_shard, open_hidden
from tools_scorer.states.making import Job, make_shard
from tools_scorer.states.workers import by_workers
from tools_scorer.traces.files import check_tokenizer, open_traces, profile_of
from tools_shared.console import progress, say
from tools_shared.devices import pick_device
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.models import resolve
from tools_shared.processes.ray_map import check_ray
from tools_shared.states.reader import layer_indices, reader_sha256, tokenizer_sha256
from tools_shared.states.shards import (
    MANIFEST,
    StatesManifest,
    shard_files,
    shard_path,
    write_manifest,
)
from tools_shared.states.steps import parse_delimiter


def extract(config: ExtractConfig) -> Hidden:
    """Write the asked shards into the folder `--output-dir`; returns it, opened.

    Everything that can be wrong with data, model and options is a ToolError before the weights are loaded.
    """
    if config.data is None:
        raise ToolError("--data is missing: name the .jsonl file that `tools-scorer preprocess` wrote")
    job = plan(config)
    start, end = asked_range(config, len(job.traces))
    ranges = shard_ranges(start, end, config.shard_size)
    i, n = config.shard_of
    mine = ranges[i::n]
    if (job.folder / MANIFEST).exists():
        write_manifest(job.folder, job.manifest)
        check_room(job.folder, mine)
    elif job.folder.exists() and (other := next((p.name for p in job.folder.iterdir() if p.name[0] != "."), None)):
        raise ToolError(
            f"{job.folder}: contains '{other}' and no {MANIFEST}, so it is not a folder of hidden states; choose "
            "another --output-dir"
        )
    todo = [span for span in mine if config.overwrite or not _finished(job, *span)]
    if len(todo) < len(mine):
        say(f"{job.folder}: {len(mine) - len(todo)} of {len(mine)} shards are finished")
    if todo:
        _run(job, todo, config)
    hidden = open_hidden(job.folder)
    if config.export == "pt":
        from tools_scorer.states.pt_files import export_pt

        say(str(export_pt(hidden, job.traces, start, end, config.overwrite, config.end_idx)))
    return hidden


def plan(config: ExtractConfig) -> Job:
    """Check data against model and options, and say what the shards will be."""
    from tools_shared.models.load import check_base, context_length, load_config, load_tokenizer

    traces = open_traces(config.data)
    start, end = asked_range(config, len(traces))
    ref = resolve(config.model)
    if ref.adapter is not None:
        check_base(ref)
    tokenizer, shape = load_tokenizer(ref), load_config(ref).get_text_config()
    check_tokenizer(traces, tokenizer, config.model)
    traces.check(start, end, shape.vocab_size, context_length(shape))
    layers = layer_indices(config.layer_numbers, shape, "--layers")
    if config.export == "pt" and len(layers) != 1:
        raise ToolError(f"--export pt stores one layer, and --layers {config.layers} asks for {len(layers)}; name one")
    final_norm = layers[-1] == shape.num_hidden_layers and config.norm == "post"
    compute = compute_dtype(config.compute_dtype, config.device)
    manifest = StatesManifest(
        model=config.model,
        reader_sha256=reader_sha256(ref),
        layers=layers,
        hidden_size=shape.hidden_size,
        norm="post" if final_norm else "pre",
        dtype=config.dtype,
        delimiter=parse_delimiter(traces.run.options["delimiter"]),
        tokenizer=tokenizer_sha256(tokenizer),
        profile=profile_of(traces).to_json(),
        input_sha256=sha256_file(traces.path),
        n_input=len(traces),
        shard_size=config.shard_size,
        engine="vllm" if config.engine == "vllm" else "transformers",
        compute_dtype=compute,
    )
    reader = ReaderOptions(
        config.model,
        layers,
        final_norm,
        config.dtype,
        compute,
        config.device,
        batch_tokens(config.device, config.max_batch_tokens),
    )
    return Job(output_folder(config.data, config.output_dir), traces, manifest, reader, manifest.engine)


def output_folder(data: str | None, output_dir: str | None) -> Path:
    if output_dir is None:
        path = Path(data)
        return path.with_name(f"{path.stem}-hidden")
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise ToolError(f"{folder}: is a file, and --output-dir names the folder of the shards; choose another")
    return folder


def asked_range(config: ExtractConfig, n_traces: int) -> tuple[int, int]:
    """Raises ToolError when it begins after the last trace."""
    if config.start_idx >= n_traces:
        raise ToolError(f"--start-idx {config.start_idx}: {config.data} has {n_traces} traces, from 0")
    return config.start_idx, min(config.end_idx or n_traces, n_traces)


def shard_ranges(start: int, end: int, size: int) -> list[tuple[int, int]]:
    """`start` to `end` cut at the multiples of `size`, so that parts made apart fit together."""
    edges = [start, *range((start // size + 1) * size, end, size), end]
    return list(itertools.pairwise(edges))


def check_room(folder: Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Raises ToolError when a shard that is there holds a part of what another would: neither can then be taken."""
    for start, end, path in shard_files(folder):
        for begin, after in ranges:
            if begin < end and start < after and (begin, after) != (start, end):
                raise ToolError(
                    f"{path}: contains a part of traces {begin} to {after}, which were requested as one shard; remove "
                    f"it, or ask with the same --start-idx and --end-idx again"
                )


def compute_dtype(compute_dtype: str, device: str) -> str:
    """`auto` is bf16 where it is multiplied natively (a GPU, or a processor with AMX), else fp32."""
    if compute_dtype != "auto":
        return compute_dtype
    import torch

    if pick_device(device) == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16") else "fp32"


def batch_tokens(device: str, max_batch_tokens: int | None) -> int:
    """As asked, else what was fastest on a processor; the figure for a GPU has not been measured."""
    return max_batch_tokens or (16384 if pick_device(device) == "cuda" else 1024)


def _finished(job: Job, start: int, end: int) -> bool:
    """Whether the shard is there and whole; raises ToolError when it is there and is not."""
    path = shard_path(job.folder, start, end)
    if not path.exists():
        return False
    check_shard(job.manifest, start, end, path)
    return True


def _run(job: Job, todo: list[tuple[int, int]], config: ExtractConfig) -> None:
    began, n_traces = time.monotonic(), sum(end - start for start, end in todo)
    say(f"{n_traces} traces in {len(todo)} shards, layers {job.manifest.layers}, {job.manifest.compute_dtype}")
    with progress(total=n_traces, label="extract", unit="trace") as bar:
        for done in _parts(job, todo, config):
            bar.update(done)
    say(f"{n_traces} traces in {time.monotonic() - began:.1f} s")


def _parts(job: Job, todo: list[tuple[int, int]], config: ExtractConfig) -> Iterator[int]:
    """How many traces each finished shard has."""
    if config.engine == "ray":
        check_ray()
        write_manifest(job.folder, job.manifest)
        yield from by_workers(job, todo, config)
        return
    reader = open_reader(job.engine, job.reader)
    write_manifest(job.folder, job.manifest)  # only now: an engine that does not start binds nobody to it
    for start, end in todo:
        yield make_shard(job, reader, start, end)
