"""Bytes in, lines out: decompression and line reading that survive broken input and never hold more than one line."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from tools_shared.errors import ToolError

MAX_LINE = 32 << 20
_BOM = b"\xef\xbb\xbf"


class BrokenStreamError(Exception):
    """Compressed data ends too early or is none; the message says which."""


def open_bytes(path: Path, compression: str) -> IO[bytes]:
    """Open a file for reading its decompressed bytes. Raises ToolError when it cannot be opened."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if compression in _LIBRARY:
        raw.close()
        return _LIBRARY[compression](path)
    if compression == ".zst":
        return io.BufferedReader(_ZstdFile(raw), 1 << 17)
    return _Gzip(raw) if compression == ".gz" else raw


_LIBRARY: dict[str, Callable[[Path], IO[bytes]]] = {".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}


class _Gzip(gzip.GzipFile):
    """A GzipFile that closes the file it was given."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _ZstdFile(io.RawIOBase):
    """zstandard's own reader takes a file that was cut off for a whole one; this one raises BrokenStreamError."""

    def __init__(self, raw: IO[bytes]) -> None:
        zstandard = require("zstandard", ".zst files")
        self._raw, self._error, self._new = raw, zstandard.ZstdError, zstandard.ZstdDecompressor().decompressobj
        self._frame, self._begun, self._ready = self._new(), False, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not self._ready:
            chunk = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._begun = self._new(), False
            chunk = chunk or self._raw.read(1 << 16)
            if not chunk:
                if self._begun:
                    raise BrokenStreamError("the compressed data is cut off here")
                return 0
            self._begun = True
            try:
                self._ready = self._frame.decompress(chunk)
            except self._error as error:
                raise BrokenStreamError(f"the compressed data is broken here ({error})") from error
        n = min(len(buffer), len(self._ready))
        buffer[:n], self._ready = self._ready[:n], self._ready[n:]
        return n

    def close(self) -> None:
        self._raw.close()
        super().close()


def require(module: str, what: str) -> Any:
    """Import an optional module; raises ToolError naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        extra = "hub" if module == "datasets" else "tables"
        raise ToolError(f"reading {what} needs {module}; pip install 'tools-shared[{extra}]'") from error


def lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """1-based line numbers and lines without their end; None stands for a line over 32 MiB, which is skipped over.

    Raises BrokenStreamError where decompression fails, after every whole line before that place.
    """
    number = 0
    while line := _read(stream):
        number += 1
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = _read(stream)
        yield number, None


def read_all(stream: IO[bytes]) -> bytes:
    """Everything, without a byte order mark. Raises BrokenStreamError where decompression fails."""
    return _guarded(stream.read).removeprefix(_BOM)


def _read(stream: IO[bytes]) -> bytes:
    return _guarded(stream.readline, MAX_LINE + 1)


def _guarded(read: Callable[..., bytes], *size: int) -> bytes:
    try:
        return read(*size)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise BrokenStreamError(f"the compressed data is broken or cut off here ({error})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise BrokenStreamError(f"the compressed data is broken here ({error})") from error  # bz2's own
