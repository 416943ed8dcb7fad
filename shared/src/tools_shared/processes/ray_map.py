"""Parts of the work mapped over processes by Ray Data, on an existing cluster or on one started for this run.

A part is a dictionary of columns; a worker is a callable made once in each process, which takes a part and gives one.
Results come as they are done, with the number of their part, in no particular order. A worker that dies (the machine
was taken away, the kernel killed it) is started again and its part done again, so nothing is lost and nothing comes
twice. The tool and the model have to be where the workers run: in their image, or on a shared disk.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from tools_shared.config import Config, option
from tools_shared.console import say
from tools_shared.errors import Incomplete, ToolError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PART, FAILURE, RESUMABLE = "part", "failure", "resumable"
TRIES_AGAIN = 5
"""How often a part is done again when its worker dies; one that kills every worker must not go on for ever."""
SPARE_CPUS = 2
"""Logical processors of a local Ray beyond its workers': with none to spare Ray Data's own tasks wait for ever."""

ANSWERS_WITHIN = 20.0
"""Seconds that a cluster has to take a connection."""

Columns = Mapping[str, Sequence[Any]]
Worker = Callable[["dict[str, np.ndarray]"], Columns]


@dataclass(frozen=True)
class RayConfig(Config):
    """The options of every command that maps over rows with Ray."""

    PANEL: ClassVar[str] = "Ray"

    ray_workers: int | None = option(
        None,
        "Workers of --engine ray, on the cluster at RAY_ADDRESS or on this machine. "
        "Default: one per available GPU, else one per machine.",
        minimum=1,
        identity=False,
    )
    ray_cpus: int = option(1, "Processor cores, and threads, of each Ray worker.", minimum=1, identity=False)
    ray_gpus: float | None = option(
        None, "GPUs of each Ray worker. Default: 1 where the cluster has any.", minimum=0, identity=False
    )


def check_ray() -> None:
    """Raises ToolError when Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ToolError("--engine ray needs Ray; pip install 'tools-shared[ray]'")


def map_parts(
    make: Callable[..., Worker], options: Mapping[str, Any], parts: Sequence[Columns], config: RayConfig
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Each part's number and what `make(**options)` made of it, as soon as it is there.

    `make` is a class or function that the workers can import. Columns hold text, numbers or arrays of one shape;
    neither a part nor what is made of it is empty. A ToolError in a worker is raised here. Raises Incomplete when a
    part's worker died again and again or the cluster is lost: what was given out before stays the caller's. Ray prints
    from threads of its own, so until the last result is taken standard output is standard error.
    """
    check_ray()
    if not parts:
        return
    with redirect_stdout(sys.stderr), _cluster(config, len(parts)) as size:
        import ray

        try:
            for columns in _dataset(make, options, parts, size).iter_batches(
                batch_size=None, batch_format="numpy", prefetch_batches=0
            ):
                if FAILURE in columns:
                    raise (Incomplete if columns[RESUMABLE][0] else ToolError)(columns[FAILURE][0])
                yield int(columns[PART][0]), {name: values for name, values in columns.items() if name != PART}
        except ray.exceptions.RayTaskError:
            raise  # a bug in the worker: its traceback says where
        except ray.exceptions.RayError as error:
            first = " ".join(str(error).split())[:300]
            raise Incomplete(f"Ray: {first}; run the same command again to resume") from error


@dataclass(frozen=True)
class _Size:
    """How many workers, and what each takes of the cluster."""

    workers: int
    cpus: int
    gpus: float


def _dataset(make: Callable[..., Worker], options: Mapping[str, Any], parts: Sequence[Columns], size: _Size) -> Any:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=r"`ray_remote_args_fn` is deprecated")  # the only way to set retries yet
    return ray.data.from_arrow([_table(i, part) for i, part in enumerate(parts)]).map_batches(
        _Mapped,
        fn_constructor_kwargs={"make": make, "options": dict(options)},
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=size.workers),
        num_cpus=size.cpus,
        num_gpus=size.gpus,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": TRIES_AGAIN},
    )


def _table(number: int, part: Columns) -> pa.Table:
    """One block of the data set; a block is one task."""
    import pyarrow as pa

    length = len(next(iter(part.values())))
    return pa.table({PART: [number] * length, **{name: list(values) for name, values in part.items()}})


class _Mapped:
    """What runs in a worker. The caller's worker is made at the first part, so that its errors travel as results do."""

    def __init__(self, make: Callable[..., Worker], options: Mapping[str, Any]) -> None:
        self._make, self._options = make, options
        self._worker: Worker | None = None

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        number = columns.pop(PART)[0]
        try:
            if self._worker is None:
                self._worker = self._make(**self._options)
            result = dict(self._worker(columns))
        except ToolError as error:
            return {PART: [number], FAILURE: [str(error)], RESUMABLE: [isinstance(error, Incomplete)]}
        return {PART: [number] * len(next(iter(result.values()))), **result}


@contextmanager
def _cluster(config: RayConfig, n_parts: int) -> Iterator[_Size]:
    """Connect to the cluster of RAY_ADDRESS or start one here, and leave or end it afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    ours = not ray.is_initialized()
    if ours:
        _connect(ray, config.ray_cpus, config.ray_workers)
    try:
        yield _size(ray, config, n_parts)
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, ray_cpus: int, ray_workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not os.environ.get("RAY_ADDRESS"):
        n_cpus = (ray_workers or 1) * ray_cpus + SPARE_CPUS
        # Without "local" Ray would join whatever cluster was last started on this machine.
        ray.init("local", num_cpus=n_cpus, include_dashboard=False, **quiet)
        return
    try:
        _knock(os.environ["RAY_ADDRESS"])
        ray.init(**quiet)
    except (OSError, RuntimeError, ValueError) as error:
        first = " ".join(str(error).split())[:300]
        raise ToolError(
            f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: no cluster of this Ray can be reached there "
            f"({first}); one with tokens needs RAY_AUTH_MODE=token"
        ) from error


def _knock(address: str) -> None:
    """Raises OSError when nobody listens at `HOST:PORT`: Ray itself would go on trying for minutes."""
    if place := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address):
        with socket.create_connection((place[1], int(place[2])), timeout=ANSWERS_WITHIN):
            pass


def _size(ray: Any, config: RayConfig, n_parts: int) -> _Size:
    has = ray.cluster_resources()
    gpus = config.ray_gpus if config.ray_gpus is not None else float(has.get("GPU", 0) >= 1)
    machines = sum(node["Alive"] for node in ray.nodes())
    workers = config.ray_workers or (max(1, int(has["GPU"] // gpus)) if gpus else machines)
    workers = min(workers, n_parts)
    if workers * config.ray_cpus > has.get("CPU", 0) or workers * gpus > has.get("GPU", 0):
        say(
            f"warning: {workers} Ray workers want {workers * config.ray_cpus} cores and {workers * gpus:g} GPUs; the "
            f"cluster has {has.get('CPU', 0):g} and {has.get('GPU', 0):g} now, and unless it grows they wait"
        )
    return _Size(workers, config.ray_cpus, gpus)
