"""vLLM's processes: where they run, and how they end with the process that started them.

vLLM computes in processes of its own. One that is killed has no time to end them, and they would keep the GPU's
memory from the run that takes its place; so a small watcher, which sees the pipe to it break, ends them then.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tools_shared import processes

WATCH = """
import os, signal, sys
sys.stdin.read()
for pid in map(int, sys.argv[1:]):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


@contextmanager
def own_gpu() -> Iterator[None]:
    """Let what is started now see the GPU of this process alone, where a run has one process for each."""
    if processes.count() == 1:
        yield
        return
    local, before = os.environ["LOCAL_RANK"], os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = before.split(",")[int(local)] if before else local
    try:
        yield
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


class EndWithMe:
    """Ends processes, and those that they have started, when this one is gone, however it went."""

    def __init__(self, pids: Sequence[int]) -> None:
        import psutil

        started = [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
        command = [sys.executable, "-I", "-c", WATCH, *map(str, [*pids, *started])]
        # In a session of its own: what is sent to this process's group must not end it first.
        self.watcher = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def release(self) -> None:
        """Leave them alone: they are ended in order."""
        self.watcher.kill()
        self.watcher.wait()
        if self.watcher.stdin is not None:
            self.watcher.stdin.close()
