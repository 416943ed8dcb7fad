"""One writer for one output: a lock that the kernel releases when its process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools_shared.errors import ToolError


class Busy(ToolError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, refusal: str, *, keep: bool = False) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; it is removed afterwards unless `keep`.

    A link in its place is not followed. Raises Busy with `refusal` when another process holds the lock, and
    OSError when the file cannot be written.
    """
    handle = _take(path, refusal)
    try:
        yield
    finally:
        if not keep and _is_at(handle, path):
            with suppress(OSError):
                path.unlink()
        os.close(handle)


def _take(path: Path, refusal: str) -> int:
    """The locked file's descriptor: that of the file which has the name, not of one that was removed meanwhile."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Busy(refusal) from None
        if _is_at(handle, path):
            return handle
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(handle)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def is_held(path: Path) -> bool | None:
    """Whether a process of this machine holds the lock, without taking it; None where the system does not tell."""
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    try:
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return None
    name = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    return any(name in line.split() for line in table.splitlines())
