"""Atomic file writes: a file is complete or absent.

A reader never sees half a file: everything is written to a temporary file beside its target, flushed to the disk and
renamed. A full disk leaves the previous version as it was.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tools_shared.errors import Incomplete, ToolError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open `path` for writing (`mode` "w": UTF-8 text with \\n line ends, "wb": bytes); it appears when the block ends.

    Missing folders are made. If the block raises, nothing changes under `path`. Raises Incomplete when the disk is
    full, and ToolError when the folder cannot be written to.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # "x" and not a mkstemp file: the result then has the usual permissions, not 0600.
        encoding, newline = (None, None) if "b" in mode else ("utf-8", "\n")
        file = temporary.open(mode.replace("w", "x"), encoding=encoding, newline=newline)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, target)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise unwritable(target, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """A hidden folder beside `folder` to write into; it gets that name when the block ends.

    It is deleted when the block raises. Where another process has made `folder` in the meantime, that one stays. Raises
    ToolError when the parent cannot be written to.
    """
    target = Path(folder)
    draft = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        yield draft
        if not target.exists():
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except IsADirectoryError as error:
        raise ToolError(f"{target}: cannot write here (it is a folder); name a file") from error
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk: without it a power cut may take a rename back."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def share_as(pattern: Path, folder: Path) -> None:
    """Give each file below `folder` that only its owner may read the permissions of `pattern`, a file opened as usual.

    safetensors writes its files for the owner alone, whatever the umask: a container's user could not read the weights.
    """
    usual = stat.S_IMODE(pattern.stat().st_mode)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600:
            path.chmod(usual)


def unwritable(target: Path, error: OSError) -> ToolError:
    """What the user can do about a file that could not be written."""
    if error.errno in _DISK_FULL:
        return Incomplete(f"{target}: the disk is full and this file was not written; free space and run again")
    return ToolError(f"{target}: cannot write here ({error.strerror}); choose another path")


def write_json(path: str | Path, data: Any) -> None:
    """Write one JSON value, indented, keys in their own order. NaN and infinities raise ValueError: JSON has none."""
    with atomic_write(path) as file:
        json.dump(data, file, ensure_ascii=False, allow_nan=False, indent=2)
        file.write("\n")


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, streaming, keys in their own order; returns how many there were."""
    n_rows = 0
    with atomic_write(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            n_rows += 1
    return n_rows


def whole_lines(path: str | Path) -> list[str]:
    """The lines of a journal that is appended to, without their ends; none when there is no file.

    A kill can tear the last line at any byte: what is left of it is removed from the file, so that what is appended
    next begins a line. Raises ToolError naming the line that is not UTF-8.
    """
    path = Path(path)
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
    try:
        return content[:whole].decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ToolError(f"{path}:{line}: not UTF-8 ({error.reason}); delete the line") from error


def sha256_file(path: str | Path) -> str:
    """The hex sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
