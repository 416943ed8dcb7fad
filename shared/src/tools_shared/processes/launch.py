"""`--processes N`: a command started once per device on this machine, by torch's own launcher.

What the launcher cannot say is told here: a process that was killed or lost makes the run incomplete (exit 3), and
a mistake of the user's keeps its own exit code.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tools_shared.errors import Incomplete

ENTRY = "from tools_{tool}.cli import main; main()"


def launched(tool: str, n_processes: int) -> bool:
    """Whether the command has been run in `n_processes` processes, to its end; False when this one is to do the work.

    Raises Incomplete when a process was lost, and SystemExit with the code of one that failed and has said why.
    """
    if n_processes == 1 or "RANK" in os.environ:
        return False
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=f"tools-{tool}-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.1,
    )
    try:
        elastic_launch(config, sys.executable)("-c", ENTRY.format(tool=tool), *sys.argv[1:])
    except ChildFailedError as error:
        raise _outcome({rank: failure.exitcode for rank, failure in error.failures.items()}) from None
    except SignalException as error:
        raise Incomplete(f"stopped by {error.sigval.name}; run the same command again to resume") from None
    return True


def _outcome(exit_codes: dict[int, int]) -> Any:
    """What the failed processes' codes (negative: the signal that killed it) mean for the run."""
    mistakes = [code for code in exit_codes.values() if code in (1, 2)]
    if mistakes:
        return SystemExit(mistakes[0])
    # One that was killed takes the others with it.
    rank, code = min(exit_codes.items(), key=lambda one: one[1])
    how = f"was killed by signal {-code}" if code < 0 else "stopped before the end"
    return Incomplete(f"process {rank} {how}; run the same command again to resume from the last checkpoint")
