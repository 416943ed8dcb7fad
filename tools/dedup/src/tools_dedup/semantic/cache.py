"""One vector per text, kept between runs: parts of npy files that appear whole or not at all.

A folder belongs to one key (model fingerprint, dtype), written in its `key.json`. Each part is three files,
`NAME.vectors.npy` (memory-mapped), `NAME.sums.json` (the sha256 of the two others) and `NAME.ids.npy` (16 bytes of each
text's sha256, and its token count). The ids are written last, so a part that has ids is whole; a run that was killed
goes on after its last part. A process reads no part without having compared it with its hash: one that differs is
deleted, and its texts are encoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tools_shared.config import digest
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file, write_json

if TYPE_CHECKING:
    import numpy as np

ID_BYTES = 16
FORMAT = 2
"""Of the parts; 1 had no hashes."""
_PART = ("ids.npy", "vectors.npy", "sums.json")


def default_cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tools-dedup"


class VectorCache:
    """Vectors of one key. Several processes may add at once: each writes parts of its own."""

    def __init__(self, root: Path, key: Mapping[str, Any]) -> None:
        self.folder = root / digest({**key, "format": FORMAT})[:24]
        self._whole: set[str] = set()
        self._parts: list[Path] = []
        self._tables: list[np.ndarray] = []
        self._deleted: set[Path] = set()
        if not (self.folder / "key.json").exists():
            write_json(self.folder / "key.json", dict(key))
        self.refresh()

    def refresh(self) -> None:
        """Read which texts there are; parts that other processes have finished meanwhile included.

        A place once given stays that text's: new parts come behind the known ones, and one that was deleted keeps its
        places, where no text is found any more.
        """
        import numpy as np

        known = set(self._parts)
        new = [path for path in sorted(self.folder.glob("*.ids.npy")) if path not in known]
        new = [path for path in new if self._is_whole(path, "ids.npy")]
        self._parts += new
        self._tables += [_load(path) for path in new]
        tables, ids = self._tables, [table["id"] for table in self._tables]
        there = [
            np.full(len(table), path not in self._deleted) for path, table in zip(self._parts, tables, strict=True)
        ]
        self._ids = np.concatenate(ids) if ids else np.empty(0, dtype=f"V{ID_BYTES}")
        self._tokens = np.concatenate([t["tokens"] for t in tables]) if tables else np.empty(0, dtype=np.int32)
        self._starts = np.cumsum([0, *map(len, ids)])
        self._order = np.argsort(_sortable(self._ids), kind="stable")
        if there:
            self._order = self._order[np.concatenate(there)[self._order]]
        self._sorted = _sortable(self._ids)[self._order]

    def find(self, ids: np.ndarray) -> np.ndarray:
        """The place of each id (V16), -1 where there is none; the vectors there are those that were written."""
        import numpy as np

        places = self._places(ids)
        found = np.unique(np.searchsorted(self._starts, places[places >= 0], side="right") - 1)
        broken = [part for part in found if not self._is_whole(self._parts[part], "vectors.npy")]
        if not broken:
            return places
        self._deleted.update(self._parts[part] for part in broken)
        self.refresh()
        return self.find(ids)

    def _places(self, ids: np.ndarray) -> np.ndarray:
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
        hashes = {}
        with ExitStack() as stack:
            for kind, content in (("ids", table), ("vectors", vectors)):  # the last that was opened is renamed first
                path = self.folder / f"{name}.{kind}.npy"
                file = _Hashed(stack.enter_context(atomic_write(path, "wb")))
                np.save(file, content, allow_pickle=False)
                hashes[f"{kind}.npy"] = file.sha256.hexdigest()
            write_json(self.folder / f"{name}.sums.json", hashes)

    def _is_whole(self, ids: Path, kind: str) -> bool:
        """Whether a file of the part with these ids is as it was written; the part is deleted where it is not. Each
        file is compared once in a process."""
        name = ids.name.removesuffix("ids.npy")
        path, sums = self.folder / f"{name}{kind}", self.folder / f"{name}sums.json"
        if path.name in self._whole:
            return True
        try:
            whole = json.loads(sums.read_text(encoding="utf-8"))[kind] == sha256_file(path)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            say(f"{path}: is not as it was written; it is deleted, and its texts are encoded again")
            for other in _PART:
                (self.folder / f"{name}{other}").unlink(missing_ok=True)
        else:
            self._whole.add(path.name)
        return whole

    def _map(self, part: int) -> np.ndarray:
        """Mapped for this read alone: pages of a map that stays open count as the process's memory."""
        path = self._parts[part]
        return _load(path.with_name(path.name.replace(".ids.", ".vectors.")), mapped=True)


class _Hashed:
    """A file that is hashed as it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256 = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        return self._file.write(content)


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
