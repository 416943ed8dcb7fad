"""The runs below a folder, finished and under way, and the stamps by which a changed file is known."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools_shared.files.locks import is_held
from tools_shared.runs.read import MANIFEST
from tools_shared.runs.replace import LOCK, STATE

DEPTH = 5
"""How deep a folder is looked through for runs; a run's own folder is not looked into."""
MOST = 200_000
"""Folders that are looked at, at most."""


@dataclass(frozen=True)
class Place:
    """A run's folder. `name` is its path below the root, `id` what an address calls it."""

    name: str
    folder: Path
    is_draft: bool

    @property
    def id(self) -> str:
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """The name without what a file system takes and UTF-8 does not have."""
        return self.name.encode("utf-8", "replace").decode("utf-8").removesuffix(".partial")

    def is_written(self) -> bool | None:
        """Whether a process on this machine writes it; None where the system does not say."""
        return is_held(self.folder / LOCK)


def find_places(root: Path) -> list[Place]:
    """Every run at most `DEPTH` folders below the root, in the order of their names."""
    left = [MOST]
    return list(_below(root, root, DEPTH, left))


def _below(root: Path, folder: Path, depth: int, left: list[int]) -> Iterator[Place]:
    left[0] -= 1
    if left[0] < 0:
        return
    is_draft = (folder / STATE).is_file()
    if is_draft or (folder / MANIFEST).is_file():
        name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
        yield Place(name, folder, is_draft)
        return
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return  # what may not be read, or went in the meantime
    for name in names:
        if not name.endswith(".old"):
            yield from _below(root, folder / name, depth - 1, left)


def stamp(path: Path) -> str:
    """What changes when the file does: size, times and inode; empty where there is no regular file. The time of the
    inode's change is among them, which no program can set."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return ""
    is_file = path.is_file() and not path.is_symlink()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}" if is_file else ""
