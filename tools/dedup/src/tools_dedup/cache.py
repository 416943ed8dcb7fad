"""One vector per text, kept between runs: parts of npy files that appear whole or not at all.

A folder belongs to one key (model fingerprint, dtype), written in its `key.json`. Each part is a pair of
files, `NAME.ids.npy` (16 bytes of each text's sha256, and its token count) and `NAME.vectors.npy` (memory-mapped). The
vectors are written first, so a part that has ids is whole; a run that was killed goes on after its last part.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.config import digest
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, write_json

if TYPE_CHECKING:
    import numpy as np

ID_BYTES = 16


def default_cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tools-dedup"


class VectorCache:
    """Vectors of one key. Several processes may add at once: each writes parts of its own."""

    def __init__(self, root: Path, key: Mapping[str, Any]) -> None:
        self.folder = root / digest(dict(key))[:24]
        if not (self.folder / "key.json").exists():
            write_json(self.folder / "key.json", dict(key))
        self.refresh()

    def refresh(self) -> None:
        """Read which texts there are; parts that other processes have finished meanwhile included."""
        import numpy as np

        self._parts = sorted(self.folder.glob("*.ids.npy"))
        tables = [_load(path) for path in self._parts]
        ids = [table["id"] for table in tables]
        self._ids = np.concatenate(ids) if ids else np.empty(0, dtype=f"V{ID_BYTES}")
        self._tokens = np.concatenate([t["tokens"] for t in tables]) if tables else np.empty(0, dtype=np.int32)
        self._starts = np.cumsum([0, *map(len, ids)])
        self._order = np.argsort(_sortable(self._ids), kind="stable")
        self._sorted = _sortable(self._ids)[self._order]

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The place of each id (V16), -1 where there is none."""
        import numpy as np

        if not len(self._sorted):
            return np.full(len(ids), -1, dtype=np.int64)
        wanted = _sortable(ids)
        at = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        return np.where(self._sorted[at] == wanted, self._order[at], -1)

    def take(self, places: np.ndarray) -> np.ndarray:
        """The vectors at places that `find` gave: (places, dimensions) float32."""
        import numpy as np

        part_of = np.searchsorted(self._starts, places, side="right") - 1
        result = None
        for part in np.unique(part_of):
            mine = part_of == part
            rows = self._map(int(part))[places[mine] - self._starts[part]]
            if result is None:
                result = np.empty((len(places), rows.shape[1]), dtype=np.float32)
            result[mine] = rows
        return result

    def tokens(self, places: np.ndarray) -> np.ndarray:
        """How many tokens each text has before it is cut."""
        return self._tokens[places]

    def add(self, ids: np.ndarray, vectors: np.ndarray, tokens: Sequence[int]) -> None:
        """Keep one part; `refresh` makes it visible."""
        import numpy as np

        table = np.empty(len(ids), dtype=[("id", f"V{ID_BYTES}"), ("tokens", np.int32)])
        table["id"], table["tokens"] = ids, tokens
        name = f"{len(self._parts):06d}-{os.getpid()}-{secrets.token_hex(4)}"
        for kind, content in (("vectors", vectors), ("ids", table)):
            with atomic_write(self.folder / f"{name}.{kind}.npy", "wb") as file:
                np.save(file, content, allow_pickle=False)

    def _map(self, part: int) -> np.ndarray:
        """Mapped for this read alone: pages of a map that stays open count as the process's memory."""
        path = self._parts[part]
        return _load(path.with_name(path.name.replace(".ids.", ".vectors.")), mapped=True)


def as_ids(digests: Sequence[bytes]) -> np.ndarray:
    """Digests of 16 bytes as an array (V16)."""
    import numpy as np

    return np.frombuffer(b"".join(digests), dtype=f"V{ID_BYTES}")


def _sortable(ids: np.ndarray) -> np.ndarray:
    """The same bytes as a type that numpy can order."""
    return ids.view(f"S{ID_BYTES}")


def _load(path: Path, mapped: bool = False) -> np.ndarray:
    import numpy as np

    try:
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ToolError(f"{path}: not a part of the vector cache ({error}); delete {path.parent}") from error
