"""Symbolic comparison in processes that can be killed.

Computer algebra on a model's output can take for ever or eat the memory, and stopping it with SIGALRM raises
in threads. Here each comparison is a JSON line to a worker process (`worker.py`) that has its own limits on memory and
processor time, kept by the kernel; after a worker that reached one the next comparison starts a fresh one. The limit is
processor time so that no grade depends on how busy the machine is.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import IO

from tools_shared.errors import ToolError

DEADLINE_S = 5.0
"""Processor time that one comparison may take; the kernel counts whole seconds, so up to one more."""
PATIENCE = 12.0
"""Seconds of waiting for each of the deadline's: for a worker that does not come to its turn, or hangs."""
START_S = 600.0
"""Starting takes a second, and minutes on an overloaded machine; a worker that dies is noticed at once."""
MEMORY_BYTES = 1 << 30
MAX_SYMBOLIC = 500
MAX_DEPTH = 15


@dataclass
class _Worker:
    """One process and what it has sent so far of its next line."""

    process: subprocess.Popen[bytes]
    stdin: IO[bytes]
    stdout: IO[bytes]
    buffer: bytearray = field(default_factory=bytearray)

    @classmethod
    def start(cls, memory_bytes: int, cpu_s: float) -> _Worker:
        # -P keeps the current folder off the module path: a user's sympy.py or random.py is not imported.
        command = [sys.executable, "-P", "-m", "tools_shared.answers.worker", str(memory_bytes), str(cpu_s)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the symbolic grader has no pipes")
        worker = cls(process, process.stdin, process.stdout)
        if worker.read(START_S) is None:
            worker.kill()
            raise ToolError(f"the symbolic grader did not start ({' '.join(command[1:4])}); its error is printed above")
        return worker

    def ask(self, question: dict[str, str], patience_s: float) -> dict[str, str] | None:
        """The answer to one question, or None when the process died or did not answer."""
        try:
            os.write(self.stdin.fileno(), json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            return None
        return self.read(patience_s)

    def read(self, timeout_s: float) -> dict[str, str] | None:
        end = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self.stdout, select.POLLIN | select.POLLHUP)
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            chunk = os.read(self.stdout.fileno(), 65536)
            if not chunk:
                return None
            self.buffer += chunk
        line, _, rest = self.buffer.partition(b"\n")
        self.buffer = bytearray(rest)
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdin.close()
        self.stdout.close()


class Pool:
    """Up to `size` workers, started when they are needed, one for each caller at a time.

    Any thread may call `compare`. A forked child begins with an empty pool: the parent's workers stay the parent's.
    """

    def __init__(self, size: int, deadline_s: float = DEADLINE_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self.size, self.deadline_s, self.memory_bytes = size, deadline_s, memory_bytes
        self._idle: list[_Worker] = []
        self._forget()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def compare(self, gold: str, given: str) -> str:
        """`correct`, `wrong`, `unparseable`, `gold_invalid`, or `timeout` when a limit was reached."""
        with self._slots:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            worker = worker or _Worker.start(self.memory_bytes, self.deadline_s)
            try:
                reply = worker.ask({"gold": gold, "given": given}, self.deadline_s * PATIENCE)
            except BaseException:  # an interrupted question leaves its answer in the pipe: not a worker to reuse
                worker.kill()
                raise
            if reply is None:
                worker.kill()
                return "timeout"
            with self._lock:
                self._idle.append(worker)
            return reply["status"]

    def close(self) -> None:
        """End the idle workers; the pool can be used again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.size)
        self._idle = []


_pool: Pool | None = None
_pool_lock = threading.Lock()


def compare(gold: str, given: str) -> str:
    """Compare two LaTeX answers with the shared pool; raises ToolError when math-verify is not installed."""
    for text, status in ((gold, "gold_invalid"), (given, "unparseable")):
        if len(text) > MAX_SYMBOLIC or _depth(text) > MAX_DEPTH:
            return status
    return _shared_pool().compare(gold, given)


def _shared_pool() -> Pool:
    global _pool
    with _pool_lock:
        if _pool is None:
            if importlib.util.find_spec("math_verify") is None:
                raise ToolError(
                    "comparing symbolic answers needs math-verify, which is not installed: "
                    "run pip install 'tools-shared[symbolic]'"
                )
            _pool = Pool(size=os.cpu_count() or 1)
        return _pool


def _depth(text: str) -> int:
    """How deep brackets nest. The grammar's time doubles with each level or two, so the depth is bounded."""
    depth = deepest = 0
    for c in text:
        if c in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif c in ")]}":
            depth -= 1
    return deepest
