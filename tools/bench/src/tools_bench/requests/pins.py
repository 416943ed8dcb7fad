"""What makes the data of a suite the same data tomorrow: a file by its hash, a hub dataset by its commit and rows."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import parse_qs, urlsplit

from tools_shared.errors import ToolError
from tools_shared.sources import read_rows
from tools_shared.sources.collect import canonical

HUB = "hf://"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def rows_sha256(source: str) -> str:
    """The hex sha256 of all rows of a source that is no file: each as JSON with sorted keys and a line end."""
    found = hashlib.sha256()
    for row in read_rows(source):
        found.update(canonical(row))
    return found.hexdigest()


def names_commit(source: str) -> bool:
    """Whether a hub address names a commit in full; a branch or a tag can move."""
    return bool(_COMMIT.fullmatch(parse_qs(urlsplit(source).query).get("revision", [""])[0]))


def check_rows(source: str, sha256: str) -> None:
    """Raise ToolError when a hub dataset holds other rows than the suite pins."""
    if (found := rows_sha256(source)) != sha256:
        raise ToolError(
            f"{source}: are not the rows that the suite pins (sha256 {found[:16]}, expected {sha256[:16]}); "
            "name the commit that it was written for, or drop the pin in a suite of your own"
        )
