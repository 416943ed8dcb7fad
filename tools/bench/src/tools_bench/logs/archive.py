"""inspect_ai's `.eval` files: a ZIP of JSON members, packed by deflate (read by Python) or Zstandard (read here)."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.sources.streams import MAX_WHOLE, require

_ZSTD = 93
_LOCAL_HEADER = struct.Struct("<26xHH")
"""Before a member's bytes: 26 bytes that the directory has too, then the lengths of its name and its extra field
(PKWARE's APPNOTE, 4.3.7)."""


def members(path: Path, wanted: str) -> Iterator[tuple[str, Any]]:
    """The JSON members whose names begin with `wanted`, in the order of their names.

    Raises ToolError for what is no such archive, and for a member larger than 1 GiB.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in sorted(archive.infolist(), key=lambda one: one.filename):
                if info.filename.startswith(wanted) and info.filename.endswith(".json"):
                    if info.file_size > MAX_WHOLE:
                        raise ToolError(f"{path}: {info.filename} is larger than {MAX_WHOLE >> 30} GiB")
                    packed = info.compress_type == _ZSTD
                    data = _unpacked(file, info) if packed else archive.read(info)
                    yield info.filename, json.loads(data)
    except (zipfile.BadZipFile, ValueError, struct.error, EOFError, OSError) as error:
        raise ToolError(
            f"{path}: not readable as an .eval file ({error}); restore it, or run the evaluation again"
        ) from error


def _unpacked(file: Any, info: zipfile.ZipInfo) -> bytes:
    zstandard = require("zstandard", ".eval files packed by Zstandard")
    file.seek(info.header_offset)
    file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), 1)
    packed = file.read(info.compress_size)
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            data = reader.read(info.file_size)
            if len(data) != info.file_size or reader.read(1):
                raise ValueError(f"{info.filename} has not the size that the archive says")
    except zstandard.ZstdError as error:
        raise ValueError(f"{info.filename}: {error}") from error
    return data
