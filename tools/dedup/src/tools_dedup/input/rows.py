"""Reading the rows that are compared: once to take their texts, and a second time to write them out.

The rows of a small set are held between the two; of a larger one they never are, so that a training set of any size
costs the memory of its distinct texts.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import json
import random
import re
import shutil
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tools_dedup.input.contents import Content, Keys, content_of
from tools_shared.console import progress
from tools_shared.errors import ToolError, UnusableError
from tools_shared.records import Origin, Rejected, Row
from tools_shared.sources import as_list, lookup, read_rows
from tools_shared.sources.collect import canonical, joined_sha256
from tools_shared.sources.rows import source_sha256

HELD_CHARACTERS = 1 << 23
"""Rows that are held for writing while they have together no more characters of JSON than this."""

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)


def named_source(given: str) -> tuple[str, str]:
    """`gsm8k=PATH` as (name, path); without a name the file's own, without its endings."""
    match = _NAMED.fullmatch(given)
    if match and not Path(given).exists():
        return match[1], match[2]
    bare = given.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return bare.split(".")[0] or "test", given


@dataclass(frozen=True)
class Source:
    """Something that can be read twice. `rows` gives a fresh iterator; `sha256` is known beforehand for files."""

    spec: str
    rows: Callable[[], Iterator[Row | Rejected]]
    sha256: str | None = None


def open_source(spec: str, list_key: str | None = None) -> Source:
    """A source by its address. Standard input is copied to a temporary file first, since it comes only once.

    A list that the field `list_key` holds as text, as a CSV cell has to, becomes one; other fields stay as they are.
    """
    if spec == "-":
        spooled = tempfile.NamedTemporaryFile(prefix="tools-dedup-", suffix=".jsonl")  # noqa: SIM115 - lives as long as the source
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        spooled.flush()
        return Source("-", lambda: _with_list(_renamed(read_rows(spooled.name)), list_key))
    return Source(spec, lambda: _with_list(read_rows(spec), list_key), source_sha256(spec))


def _with_list(rows: Iterator[Row | Rejected], key: str | None) -> Iterator[Row | Rejected]:
    for found in rows:
        if isinstance(found, Row) and isinstance(value := found.data.get(key), str) and (listed := as_list(value)):
            yield Row({**found.data, key: listed}, found.origin)
        else:
            yield found


def open_sources(specs: Sequence[str], list_key: str | None = None) -> Source:
    """Sources that are read one after another, each as by `open_source`."""
    sources = [open_source(spec, list_key) for spec in specs]
    if len(sources) == 1:
        return sources[0]
    known = [source.sha256 for source in sources if source.sha256 is not None]
    sha256 = joined_sha256(known) if len(known) == len(sources) else None
    return Source(str(specs), lambda: itertools.chain.from_iterable(source.rows() for source in sources), sha256)


def _renamed(rows: Iterator[Row | Rejected]) -> Iterator[Row | Rejected]:
    for found in rows:
        origin = Origin("<stdin>", found.origin.line)
        yield Row(found.data, origin) if isinstance(found, Row) else Rejected(origin, found.reason, found.raw)


def source_of_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> Source:
    """Rows that a Python program holds; the line is the row's 1-based number."""
    return Source(name, lambda: (Row(data, Origin(name, number)) for number, data in enumerate(rows, start=1)))


@dataclass
class Scan:
    """A source read once. Row `i` of the usable rows is at `positions[i]` among all rows and has the text
    `texts[text_ids[i]]`; `contents` is kept only where asked for, `held` only of a small source. Rejected row `r` stood
    at `rejected_at[r]`. `n_read` = usable + rejected + `n_unsampled`."""

    spec: str
    sha256: str
    texts: list[str] = field(default_factory=list)
    text_ids: array = field(default_factory=lambda: array("l"))
    positions: array = field(default_factory=lambda: array("l"))
    lines: array = field(default_factory=lambda: array("l"))
    paths: list[str] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    held: list[tuple[Row, Content]] = field(default_factory=list)
    sort_values: list[Any] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rejected_at: array = field(default_factory=lambda: array("l"))
    n_read: int = 0
    n_unsampled: int = 0

    def __len__(self) -> int:
        return len(self.text_ids)

    def sample(self, limit: int, seed: int) -> Scan:
        """At most `limit` usable rows (0 is all), those that a shuffle with `seed` puts first, in their order."""
        if not limit or len(self) <= limit:
            return self
        order = list(range(len(self)))
        random.Random(seed).shuffle(order)
        return self.only(sorted(order[:limit]))

    def only(self, rows: Sequence[int]) -> Scan:
        """These usable rows, with the texts that they need; the others count as not sampled."""
        known: dict[int, int] = {}
        text_ids = array("l", (known.setdefault(self.text_ids[i], len(known)) for i in rows))
        return replace(
            self,
            texts=[self.texts[i] for i in known],
            text_ids=text_ids,
            positions=array("l", (self.positions[i] for i in rows)),
            lines=array("l", (self.lines[i] for i in rows)),
            paths=[self.paths[i] for i in rows],
            contents=[self.contents[i] for i in rows] if self.contents else [],
            held=[self.held[i] for i in rows] if self.held else [],
            sort_values=[self.sort_values[i] for i in rows] if self.sort_values else [],
            n_unsampled=self.n_unsampled + len(self) - len(rows),
        )

    def origin(self, row: int) -> Origin:
        return Origin(self.paths[row], self.lines[row])


def scan(
    source: Source,
    keys: Keys,
    *,
    check: Callable[[Row], Any] | None = None,
    seen: Callable[[int, str, Mapping[str, Any]], Any] | None = None,
    sort_key: str | None = None,
    with_contents: bool = False,
) -> Scan:
    """Read a source once. `check` may raise UnusableError for a row; `seen` is called with each usable row's position,
    text and data; `sort_key` names a field to remember.

    Raises ToolError when no row is usable, with the reason of the first.
    """
    with no_cycles():
        return _scan(source, keys, check, seen, sort_key, with_contents)


@contextmanager
def no_cycles() -> Iterator[None]:
    """Without the collector of cycles, which looks at every row that is held again and again; rows have none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _scan(
    source: Source,
    keys: Keys,
    check: Callable[[Row], Any] | None,
    seen: Callable[[int, str, Mapping[str, Any]], Any] | None,
    sort_key: str | None,
    with_contents: bool,
) -> Scan:
    digest, known, to_hold = hashlib.sha256(), {}, HELD_CHARACTERS
    result = Scan(source.spec, "")
    for position, found in enumerate(progress(source.rows(), label="reading", unit="row")):
        result.n_read += 1
        if source.sha256 is None:
            digest.update(canonical(found))
        used = _use(found, keys, check)
        if isinstance(used, Rejected):
            result.rejected.append(used)
            result.rejected_at.append(position)
            continue
        made, n_characters = used
        to_hold -= n_characters
        text_id = known.setdefault(made.text, len(known))
        if text_id == len(result.texts):
            result.texts.append(made.text)
        result.text_ids.append(text_id)
        result.positions.append(position)
        result.lines.append(found.origin.line)
        result.paths.append(sys.intern(found.origin.path))
        if seen:
            seen(position, made.text, found.data)
        if with_contents:
            result.contents.append(made)
        elif to_hold >= 0:
            result.held.append((found, made))
        else:
            result.held.clear()
        if sort_key:
            result.sort_values.append(_sort_value(found, sort_key))
    if not result.text_ids:
        raise ToolError(_nothing_usable(source.spec, result.rejected))
    result.sha256 = source.sha256 or digest.hexdigest()
    return result


def _use(found: Row | Rejected, keys: Keys, check: Callable[[Row], Any] | None) -> tuple[Content, int] | Rejected:
    """What the row is compared by, and its size: characters of JSON."""
    if isinstance(found, Rejected):
        return found
    try:
        made = content_of(found.data, keys)
        made.text.encode()
        line = as_line(found.data)
        line.encode()
        if check:
            check(found)
    except UnicodeEncodeError:
        return _reject(found, "the text contains half a surrogate pair (\\ud800 to \\udfff)")
    except ValueError:
        return _reject(found, "holds NaN or an infinity, which JSON cannot")
    except UnusableError as error:
        return _reject(found, str(error))
    return made, len(line)


def _reject(found: Row, reason: str) -> Rejected:
    raw = json.dumps(found.data, default=str)[:200]
    return Rejected(found.origin, reason, raw)


def as_line(data: Mapping[str, Any]) -> str:
    """A row as a line of JSON; dates and other values of binary formats as text. Raises ValueError for NaN."""
    return _LINE.encode(data) + "\n"


_LINE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str)  # json.dumps would make one for each row


def _sort_value(found: Row, key: str) -> float:
    try:
        value = lookup(found.data, key)
    except KeyError:
        raise ToolError(f"{found.origin}: no key '{key}'; give --keep another key, first or longest") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"{found.origin}: '{key}' is {value!r}, not a number; give --keep another key")
    return value


def _nothing_usable(spec: str, rejected: list[Rejected]) -> str:
    if not rejected:
        return f"{spec}: no usable row (the source is empty)"
    first = rejected[0]
    return f"{spec}: no usable row ({len(rejected)} rejected; first: line {first.origin.line}: {first.reason})"
