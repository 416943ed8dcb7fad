"""`read_rows`: from an address to rows. Opening faults are raised at once, before the first row is asked for."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.records import Origin, Row
from tools_shared.sources.csv_text import read_csv
from tools_shared.sources.hub import read_hub
from tools_shared.sources.json_text import Rows, read_json, read_jsonl
from tools_shared.sources.spec import STDIN, TABLES, files_of, parse_address, scheme_of, suffixes
from tools_shared.sources.streams import open_bytes
from tools_shared.sources.tables import read_table

DEMO_KEYS = ("split", "size", "seed", "longest")


def read_rows(spec: str | os.PathLike[str]) -> Rows:
    """Rows and rejected rows of a path, a glob, `-`, `hf://...` or `demo://...`, in order, one at a time.

    Values are as JSON has them: NaN and infinities are null, bytes are base64 text, dates and decimals text. The cells
    of a CSV file stay text (`as_list` reads those that hold a list). Raises ToolError at once when the address is wrong
    or names nothing that can be opened; everything after that is a `Rejected`.
    """
    spec = os.fspath(spec)
    if spec == STDIN:
        return read_jsonl("<stdin>", sys.stdin.buffer)
    scheme = scheme_of(spec)
    if scheme == "hf":
        return read_hub(spec)
    if scheme == "demo":
        return _read_demo(spec)
    return itertools.chain.from_iterable(_read_file(file) for file in files_of(spec))


def _read_file(file: Path) -> Rows:
    suffix, compression = suffixes(file)
    path = str(file)
    with open_bytes(file, compression) as stream:
        if suffix in TABLES:
            yield from read_table(path, stream, suffix)
        elif suffix in (".csv", ".tsv"):
            yield from read_csv(path, stream, None if suffix == ".csv" else "\t")
        elif suffix == ".json":
            yield from read_json(path, stream)
        else:
            yield from read_jsonl(path, stream)


def _read_demo(spec: str) -> Iterator[Row]:
    name, options = parse_address(spec, DEMO_KEYS)
    if name not in _DEMO:
        sets = ", ".join(f"demo://{one}" for one in _DEMO)
        raise ToolError(f"{spec}: there is no demo set '{name}'; use one of {sets}")
    for key in ("size", "seed", "longest"):
        if not options.get(key, "0").isdecimal():
            raise ToolError(f"{spec}: '{key}' is a whole number, got '{options[key]}'")
    split, size, seed = options.get("split", "train"), int(options.get("size", 1000)), int(options.get("seed", 0))
    longest = {"longest": int(options["longest"])} if "longest" in options else {}
    if longest and name == "procedures":
        raise ToolError(f"{spec}: 'longest' is for problems; leave it out")
    drawn = _DEMO[name](split, size, seed, **longest)
    return (Row(data, Origin(spec, number)) for number, data in enumerate(drawn, start=1))


def _problems(split: str, size: int, seed: int, **longest: int) -> Iterator[dict[str, Any]]:
    from tools_shared.demo.problems import problems

    return problems(split, size, seed, **longest)


def _contaminated(split: str, size: int, seed: int, **longest: int) -> Iterator[dict[str, Any]]:
    from tools_shared.demo.contaminated import check_split, contaminated

    check_split(split)
    return contaminated(size, seed, **longest)


def _procedures(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    from tools_shared.demo.procedures import procedures

    return procedures(split, size, seed)


_DEMO: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "problems": _problems,
    "contaminated": _contaminated,
    "procedures": _procedures,
}


def source_sha256(spec: str | os.PathLike[str]) -> str | None:
    """The hex sha256 of the files an address names: of the file's bytes as stored, and for several files of their
    hex digests, one a line, in sorted order of path. None for what is no file (standard input, hub, demo)."""
    spec = os.fspath(spec)
    if spec == STDIN or scheme_of(spec) is not None:
        return None
    digests = [sha256_file(file) for file in files_of(spec)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(f"{d}\n" for d in digests).encode()).hexdigest()
