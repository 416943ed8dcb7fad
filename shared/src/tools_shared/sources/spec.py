"""What a source's address means: a file, many files, standard input, the hub or the demo."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tools_shared.errors import ToolError
from tools_shared.names import nearest

STDIN = "-"
SCHEMES = ("hf", "demo")
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
TABLES = (".parquet", ".arrow", ".feather")
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", *TABLES)


def scheme_of(spec: str) -> str | None:
    """The scheme of an address, None for a path. Raises ToolError for one that is not read here."""
    scheme, separator, _ = spec.partition("://")
    if not separator:
        return None
    if scheme not in SCHEMES:
        raise ToolError(f"{spec}: '{scheme}://' is not read here; use a local path, hf://owner/name or demo://problems")
    return scheme


def parse_address(spec: str, known: Iterable[str]) -> tuple[str, Mapping[str, str]]:
    """`scheme://name?key=value` as name and options; raises ToolError on a key that is unknown, empty or doubled."""
    parts = urlsplit(spec)
    name = (parts.netloc + parts.path).strip("/")
    options: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in set(known):
            raise ToolError(f"{spec}: unknown key '{key}' ({nearest(key, known)})")
        if key in options or not value:
            raise ToolError(f"{spec}: '{key}' is {'given twice' if key in options else 'empty'}; give it one value")
        options[key] = value
    if parts.fragment or not name:
        raise ToolError(f"{spec}: not an address; write {parts.scheme}://NAME?{'=&'.join(known)}=")
    return name, options


def files_of(spec: str) -> list[Path]:
    """The files that a path or a glob names, sorted; raises ToolError when there is none or one cannot be read here."""
    if not spec:
        raise ToolError("an empty address names no rows; give a file, a glob, '-', hf://owner/name or demo://problems")
    path = Path(spec).expanduser()
    if path.is_file() or not glob.has_magic(spec):
        found = [path]
    else:
        found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not found:
            raise ToolError(f"{spec}: no file matches; check the pattern (** goes into folders)")
    for file in found:
        _check_file(file)
    return found


def files_among(*specs: str | None) -> Iterator[Path]:
    """The files that addresses name and that are there, resolved; None and what is no path name none."""
    for spec in specs:
        if spec and "://" not in spec and spec != STDIN:
            path = Path(spec).expanduser()
            found = [path] if path.exists() else glob.glob(str(path), recursive=True)  # noqa: PTH207 - as above
            yield from (Path(p).resolve() for p in found)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ToolError(f"{path}: is a folder; name its files, such as '{path}/*.jsonl'")
    if not path.exists():
        raise ToolError(f"{path}: no such file ({_nearest_file(path)})")
    suffix, compression = suffixes(path)
    if suffix not in SUFFIXES:
        near = difflib.get_close_matches(suffix, SUFFIXES, n=1)
        hint = f"nearest is {near[0]}; " if near else ""
        known = f"known: {' '.join(SUFFIXES)}, with {' '.join(COMPRESSIONS)}"
        raise ToolError(f"{path}: unknown format {suffix or '(no suffix)'} ({hint}{known}); rename or convert it")
    if compression and suffix in TABLES:
        raise ToolError(f"{path}: {suffix} is not read through {compression}; decompress it first")


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"nor is there a folder {folder}"
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and suffixes(p)[0] in SUFFIXES)
    return nearest(path.name, names) if names else f"{folder} holds no file that is read here"


def suffixes(path: Path) -> tuple[str, str]:
    """`rows.csv.gz` as (".csv", ".gz"); the second is empty without compression. Lower case."""
    parts = [s.lower() for s in path.suffixes[-2:]]
    if parts and parts[-1] in COMPRESSIONS:
        return (parts[-2] if len(parts) == 2 else ""), parts[-1]
    return (parts[-1] if parts else ""), ""
