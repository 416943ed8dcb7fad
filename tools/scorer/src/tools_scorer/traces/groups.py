"""Which questions belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.records import Rejected, Row
from tools_shared.sources import lookup, read_rows
from tools_shared.states.splits import question_key


def read_groups(source: str | None, key: str) -> dict[str, str]:
    """Each question's group by `question_key`, from dedup's clusters or rows with `question` and `group`.

    Questions that no row names are groups of their own. Clusters that share a question are joined. `key` is the field
    of the question in the files that clusters point into. Raises ToolError when a row has neither form.
    """
    if source is None:
        return {}
    together, lines = _Joined(), _Lines()
    for row in read_rows(source):
        if isinstance(row, Rejected):
            raise ToolError(f"{row.origin}: {row.reason}; a file of groups must be whole")
        for question, name in _members(row, key, lines):
            together.join(question_key(question), name)
    return together.names()


def _members(row: Row, key: str, lines: _Lines) -> Iterator[tuple[str, str]]:
    data = row.data
    if "group" in data and isinstance(data.get(key), str):
        yield data[key], f"given:{data['group']}"
    elif isinstance(data.get("kept"), Mapping) and isinstance(data.get("removed"), list):
        for place in (data["kept"], *data["removed"]):
            yield lines.question(place, key), f"cluster:{row.origin.line}"
    else:
        raise ToolError(f"{row.origin}: neither a cluster of tools-dedup nor a row with '{key}' and 'group'")


class _Lines:
    """Questions by file and line, each file read once."""

    def __init__(self) -> None:
        self._files: dict[str, dict[int, str]] = {}

    def question(self, place: Mapping[str, Any], key: str) -> str:
        path, line = str(place["train_path"]), int(place["train_line"])
        if path not in self._files:
            self._files[path] = {row.origin.line: _text(row, key) for row in read_rows(path) if isinstance(row, Row)}
        if line not in self._files[path]:
            raise ToolError(f"{path}:{line}: a cluster points here, and there is no such row; run tools-dedup again")
        return self._files[path][line]


def _text(row: Row, key: str) -> str:
    try:
        return str(lookup(row.data, key))
    except KeyError:
        raise ToolError(f"{row.origin}: no '{key}', which --groups needs; name the field with --question-key") from None


class _Joined:
    """Sets that grow together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def join(self, one: str, other: str) -> None:
        self._parent[self._root(one)] = self._root(other)

    def _root(self, name: str) -> str:
        self._parent.setdefault(name, name)
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]
            name = self._parent[name]
        return name

    def names(self) -> dict[str, str]:
        """Each member's group, called by its first member in order of their names."""
        first: dict[str, str] = {}
        for name in sorted(self._parent):
            first.setdefault(self._root(name), name)
        return {name: first[self._root(name)] for name in self._parent}
