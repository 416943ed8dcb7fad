"""One run in several processes, one per device: rank, agreement, and who writes.

`torchrun`, `accelerate launch` and `--processes N` start the processes and give each its RANK and WORLD_SIZE; a tool
that trains calls `join` first. Rank 0 owns the run: it alone writes and speaks, and what it decides (whether there is
anything to do, where to go on) it shares. Messages are JSON on a group of their own, beside that of the gradients.
Without a launcher all of this is one process that is rank 0.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from tools_shared.errors import Incomplete, ToolError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

STEP_TIMEOUT = timedelta(hours=1)
"""How long a rank waits for the others' gradients; the slowest rank's rollouts have to fit into it."""
MESSAGE_TIMEOUT = timedelta(hours=12)
"""How long a rank waits for a message: rank 0 may be tokenising, evaluating or downloading meanwhile."""
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
"""What accelerate reads: torch's `fully_shard` on each layer; checkpoints hold whole tensors, for any number of
processes."""
LOST = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "socket closed",
    "connection was closed",
)
"""Words of gloo, NCCL and the rendezvous about a process that is gone; compared in lower case."""

_rank, _count, _announced = 0, 1, False
_messages: Any = None


def join(device: str, sharding: str = "none") -> None:
    """Meet the other processes of this run, if a launcher has started several; `device` and `sharding` as in the
    options.

    Raises ToolError when the device is not there or the sharding cannot be, Incomplete when the others do not come.
    """
    global _rank, _count, _messages
    n_processes = int(os.environ.get("WORLD_SIZE", "1"))
    _shard(sharding, n_processes)
    if n_processes == 1 or _messages is not None:
        return
    import torch
    import torch.distributed as dist

    from tools_shared.devices import pick_device

    on_gpu = pick_device(device) == "cuda"
    if not on_gpu:
        # Else the trainer's device is "cpu:0", under which torch does not read an optimiser's state back.
        os.environ.setdefault("ACCELERATE_TORCH_DEVICE", "cpu")
    else:
        torch.cuda.set_device(_local_rank(torch.cuda.device_count()))
    _rank, _count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=STEP_TIMEOUT)
        _messages = dist.new_group(backend="gloo", timeout=MESSAGE_TIMEOUT)
    except (dist.DistError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]
        raise Incomplete(f"rank {_rank} of {_count} could not meet the others: {first}") from error


def _shard(sharding: str, n_processes: int) -> None:
    """Tell accelerate to shard, as `accelerate launch` does with a configuration that says so."""
    if sharding == "fsdp2":
        for name, value in FSDP2.items():
            os.environ.setdefault(name, value)
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return
    if n_processes == 1:
        raise ToolError("sharding needs several processes; pass --processes N, or --sharding none")
    if os.environ.get("FSDP_VERSION", "1") != "2":
        raise ToolError("accelerate is set up for the first FSDP; put fsdp_version: 2 into its configuration file")
    # With it all processes but the first would load models without weights, those that are not sharded too.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"


def sharded() -> bool:
    """Whether the trained model is sharded over the processes."""
    return _count > 1 and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def _local_rank(n_devices: int) -> int:
    local = int(os.environ["LOCAL_RANK"])
    if local >= n_devices:
        raise ToolError(
            f"process {local} of this machine has no GPU: torch sees {n_devices}; start one process a GPU, "
            "or pass --device cpu"
        )
    return local


def leave(exit_code: int) -> None:
    """Part from the others at the end, so that those still waiting for a word of rank 0 end too."""
    if _messages is not None:
        announce({"exit": exit_code})


def end(exit_code: int) -> None:
    """End this process, if it is one of several, without winding down: gloo's threads now and then abort that."""
    if _messages is None:
        return
    # The launcher ends those that are left when the first has ended.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit._run_exitfuncs()  # what experiment trackers have still to send
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


def rank() -> int:
    return _rank


def count() -> int:
    """How many processes work on this run."""
    return _count


def is_main() -> bool:
    return _rank == 0


def mine(items: Sequence[T]) -> Sequence[T]:
    """This rank's part of `items`: every `count()`-th, so that long and short ones are spread."""
    return items[_rank::_count]


def in_order(parts: Sequence[Sequence[T]]) -> list[T]:
    """What each rank's `mine` was, in the order of the whole."""
    whole: list[T] = [None] * sum(len(part) for part in parts)  # type: ignore[list-item]
    for i, part in enumerate(parts):
        whole[i :: len(parts)] = part
    return whole


def passes(n_examples: int, batch_size: int, unit: str, planned: int = 1) -> int:
    """Forward passes of each process in one optimiser step over `n_examples`, however many there are; `planned` is how
    many `--processes` asks for, where they have not been started (a dry run).

    Raises ToolError when they cannot be dealt out evenly.
    """
    n_processes = max(_count, planned)
    n_passes, rest = divmod(n_examples, batch_size * n_processes)
    if rest:
        raise ToolError(
            f"the {n_examples} {unit} of a step cannot be dealt to {n_processes} processes in batches of {batch_size}; "
            f"make them a multiple of {batch_size * n_processes} (by a smaller --batch-size, with more "
            "--gradient-accumulation in SFT so that the step stays the same, or other --prompts-per-step in GRPO), or "
            "take another number of processes"
        )
    return n_passes


def share(value: T) -> T:
    """Rank 0's `value` (of JSON's types) on every rank; the others' own is not looked at."""
    if _messages is None:
        return value
    import torch
    import torch.distributed as dist

    data = _encoded(value) if is_main() else None
    size = torch.tensor([0 if data is None else len(data)])
    dist.broadcast(size, 0, group=_messages)
    data = torch.empty(int(size), dtype=torch.uint8) if data is None else data
    dist.broadcast(data, 0, group=_messages)
    return _decoded(data)


def gather(value: T) -> list[T]:
    """Every rank's `value` (of JSON's types) on every rank, in the order of the ranks."""
    if _messages is None:
        return [value]
    import torch
    import torch.distributed as dist

    data = _encoded(value)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(_count)]
    dist.all_gather(sizes, torch.tensor([len(data)]), group=_messages)
    widest = max(int(size) for size in sizes)
    padded = torch.nn.functional.pad(data, (0, widest - len(data)))
    parts = [torch.empty(widest, dtype=torch.uint8) for _ in range(_count)]
    dist.all_gather(parts, padded, group=_messages)
    return [_decoded(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]


def any_of(flag: bool) -> bool:
    """Whether `flag` is set on any rank; all of them have to ask."""
    return any(gather(flag))


def _encoded(value: Any) -> torch.Tensor:
    import torch

    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _decoded(data: torch.Tensor) -> Any:
    return json.loads(data.numpy().tobytes())


def announce(message: dict[str, Any]) -> None:
    """Rank 0 tells the others, once, how the run begins; they wait for it in `announced`."""
    global _announced
    if is_main() and not _announced:
        _announced = True
        share(message)


def announced() -> dict[str, Any]:
    """What rank 0 has announced; ends this process when rank 0 has nothing for it to do (it has said why)."""
    global _announced
    message: dict[str, Any] = share({})
    _announced = True
    if "exit" in message:
        raise SystemExit(message["exit"])
    return message


def lost(error: BaseException) -> Incomplete | None:
    """What to tell the user when `error` means that another process of this run is gone; else None."""
    words = str(error).lower()
    if _messages is None or not any(word in words for word in LOST):
        return None
    return Incomplete(
        f"rank {_rank} of {_count}: another process of this run is gone; run the same command again to resume from "
        "the last checkpoint"
    )
