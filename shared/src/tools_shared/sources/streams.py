"""Bytes in, lines out: decompression and line reading that survive broken input and never hold more than one line.

What a small compressed file may become is bounded: a line (`Limits.row`), and what is read whole (`MAX_WHOLE`).
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tools_shared.errors import ToolError

MAX_LINE = 32 << 20
MAX_WHOLE = 1 << 30
"""Bytes of a file that is one value, as JSON is, and is therefore read whole."""
_ZSTD_STEP = 1 << 10
"""Compressed bytes that are taken at once. A block of zstd is at least 3 bytes and at most 128 KiB when unpacked (RFC
8878, section 3.1.1.2), so that a step yields 43 MiB at most."""
_BOM = b"\xef\xbb\xbf"


@dataclass
class Limits:
    """What the process's command line allows (`--max-row-bytes`)."""

    row: int = MAX_LINE

    def too_long(self) -> str:
        return f"the line is longer than {self.row / (1 << 20):g} MiB"


LIMITS = Limits()


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
        return cast(IO[bytes], io.BufferedReader(_ZstdFile(raw), 1 << 17))
    return cast(IO[bytes], _Gzip(raw)) if compression == ".gz" else raw


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
        self._frame, self._begun = self._new(), False
        self._chunk = self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            step = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._begun = self._new(), False
            if not step:
                self._chunk = self._chunk or memoryview(self._raw.read(1 << 16))
                step, self._chunk = self._chunk[:_ZSTD_STEP], self._chunk[_ZSTD_STEP:]
            if not step:
                if self._begun:
                    raise BrokenStreamError("the compressed data is truncated here")
                return 0
            self._begun = True
            try:
                self._ready = memoryview(self._frame.decompress(step))
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
    """1-based line numbers and lines without their end; None means a line over `LIMITS.row`, which is skipped.

    Raises BrokenStreamError where decompression fails, after every whole line before that place.
    """
    number = 0
    while line := _read(stream):
        number += 1
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        if len(line) <= LIMITS.row or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = _read(stream)
        yield number, None


def read_all(stream: IO[bytes]) -> bytes:
    """Everything, without a byte order mark. Raises BrokenStreamError where decompression fails, and for more than
    `MAX_WHOLE` bytes."""
    parts, size = [], 0
    while part := _guarded(stream.read, 1 << 20):
        size += len(part)
        if size > MAX_WHOLE:
            raise BrokenStreamError(f"more than {MAX_WHOLE >> 20} MiB of JSON as one value; make it JSON lines")
        parts.append(part)
    return b"".join(parts).removeprefix(_BOM)


def _read(stream: IO[bytes]) -> bytes:
    return _guarded(stream.readline, LIMITS.row + 1)


def _guarded(read: Callable[..., bytes], *size: int) -> bytes:
    try:
        return read(*size)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise BrokenStreamError(f"the compressed data is broken or truncated here ({error})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise BrokenStreamError(f"the compressed data is broken here ({error})") from error  # bz2's own
