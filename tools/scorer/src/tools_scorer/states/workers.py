"""Extraction by the workers of a Ray cluster: each worker writes whole shards to a shared disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tools_scorer.readers import open_reader
from tools_scorer.states.making import Job, make_shard
from tools_shared.processes.ray_map import Columns, RayConfig, map_parts

if TYPE_CHECKING:
    import numpy as np


def by_workers(job: Job, todo: list[tuple[int, int]], config: RayConfig) -> Iterator[int]:
    """How many traces each shard has, as soon as it is written.

    The folder and the traces have to be on a disk that the workers share. A shard that is done twice, because its
    worker died after writing it, is written with the same bytes.
    """
    parts = [{"start": [start], "end": [end]} for start, end in todo]
    for _, columns in map_parts(open_worker, {"job": job}, parts, config):
        yield int(columns["n_traces"][0])


def open_worker(job: Job) -> Callable[[dict[str, np.ndarray]], Columns]:
    """What runs in a worker: the model is loaded once, then each part is a shard."""
    reader = open_reader(job.engine, job.reader)

    def work(columns: dict[str, np.ndarray]) -> Columns:
        return {"n_traces": [make_shard(job, reader, int(columns["start"][0]), int(columns["end"][0]))]}

    return work
