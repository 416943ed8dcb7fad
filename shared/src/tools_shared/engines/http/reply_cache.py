"""A cache of paid replies: a small SQLite file, keyed by address, scope, body and sample.

The scope is what the body does not say, such as the name under which a model is benchmarked: a tutor's endpoint has
the same address and requests whatever model is behind it. Only successes are kept, and of those what is worth it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError

_COMMIT_EVERY = 0.5  # seconds; a kill loses at most so much of the cache, and nothing of the caller's own journal


class ReplyCache:
    """Replies by request. Several processes may share the file. A reply that is not `worth_keeping` is neither written
    nor given again. Raises ToolError when the file is not a reply cache."""

    def __init__(self, path: Path, scope: str, worth_keeping: Callable[[Any], bool] = lambda reply: True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.scope, self.worth_keeping = scope, worth_keeping
        self._written = time.monotonic()
        try:
            self._db = sqlite3.connect(path, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT) WITHOUT ROWID")
        except sqlite3.DatabaseError as error:
            raise ToolError(f"{path}: not a reply cache ({error}); delete it or pass --no-cache") from error

    def get(self, url: str, body: dict[str, Any], draw: int) -> Any | None:
        found = self._db.execute("SELECT reply FROM replies WHERE key = ?", (self._key(url, body, draw),)).fetchone()
        reply = None if found is None else json.loads(found[0])
        return reply if reply is not None and self.worth_keeping(reply) else None

    def put(self, url: str, body: dict[str, Any], draw: int, reply: Any) -> None:
        if not self.worth_keeping(reply):
            return
        row = (self._key(url, body, draw), json.dumps(reply, ensure_ascii=False))
        self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", row)
        if time.monotonic() - self._written > _COMMIT_EVERY:
            self._db.commit()
            self._written = time.monotonic()

    def close(self) -> None:
        self._db.commit()
        self._db.close()

    def _key(self, url: str, body: dict[str, Any], draw: int) -> bytes:
        parts = [url, self.scope, body, draw]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")).digest()


@contextmanager
def cache_beside(
    run: Path, kept: bool, scope: str, worth_keeping: Callable[[Any], bool]
) -> Iterator[ReplyCache | None]:
    """The cache beside a run, which runs in the same folder share; None unless it is `kept`. Behind one address
    different models come and go: a reply belongs to the name (`scope`) that it was asked under."""
    cache = ReplyCache(run.parent / ".cache" / "replies.sqlite", scope, worth_keeping) if kept else None
    try:
        yield cache
    finally:
        if cache is not None:
            cache.close()
