"""The files that a command writes outside a run directory, as one set: locked, drafted, published.

    with output_files("tools-bench tag", {"rows": path, "rejected": beside}, inputs=[...], flag="--output") as files:
        write_jsonl(files["rows"], rows)

Nothing changes under the final names until the block has ended and every draft is on the disk. Then a journal is
written, the record of the files that are there is removed, and the new files take their places, the record last: at
every moment all files under the final names are of one run, the first of them is always there, and a set with a record
is whole. A kill in between leaves the journal, which the next start of the command carries out.

The record tells each file's hash. By it a later run of the same command knows what it may replace unasked; anything
else that has one of the names is refused, or with `--overwrite` kept under a hidden, random name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.config import Config, option
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, sync_folder, unwritable, write_json
from tools_shared.files.locks import locked
from tools_shared.runs.read import MANIFEST

RECORD_VERSION = 1
OVERWRITE = (
    "Also replace files that this command did not write, or that were changed since. The old file is kept beside the "
    "new one under a hidden name, which is printed."
)


@dataclass(frozen=True)
class OverwriteConfig(Config):
    """The option of every command that writes files outside a run directory."""

    overwrite: bool = option(False, OVERWRITE, identity=False)


@contextmanager
def output_files(
    tool: str,
    targets: Mapping[str, Path],
    *,
    flag: str,
    inputs: Iterable[Path] = (),
    overwrite: bool = False,
    record: str | None = None,
    replaces: Path | None = None,
    run: Path | None = None,
) -> Iterator[Mapping[str, Path]]:
    """Where to write each of `targets`; what has been written there is published when the block ends.

    `tool` is the command's name, by which it knows its own files again, and `flag` the option that names them.
    `record` is the target that lists the set's hashes (`outputs: {name: {path, sha256}}`, and `tool`); without one a
    hidden record is kept beside the first target. `replaces` is a file that may be replaced whoever wrote it.
    `run` is the finished run that the files are added to, and are replaced with. If the
    block raises, nothing changes. Raises ToolError when a target is an input, a link, a folder, a file of a run or
    another target, when another process writes it, or when it is there and this command did not write it. A block that
    writes nothing leaves everything as it is, which serves to check before a long computation.
    """
    paths = {name: Path(path) for name, path in targets.items()}
    first = next(iter(paths.values()))
    listing = paths[record] if record else first.with_name(f".{first.name}.outputs.json")
    check_places(paths, flag, inputs)
    with ExitStack() as stack:
        for path in sorted({path.resolve() for path in paths.values()}):
            stack.enter_context(_lock_of(path))
        journal = listing.with_name(f".{listing.name}.journal")
        complete(journal)
        files = _Set(tool, paths, listing, journal, record, flag, overwrite, replaces, run)
        files.there()
        try:
            yield files.drafts
            files.publish()
        finally:
            files.clean()


def check_places(paths: Mapping[str, Path], flag: str, inputs: Iterable[Path] = ()) -> None:
    """Raises ToolError when a path is an input, a link, a folder, a file of a run, or another of the paths."""
    used = {Path(path).resolve() for path in inputs}
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if not path.name:
            raise ToolError(f"{flag} '{path}': names no file; give a file's name")
        if path.is_dir():
            raise ToolError(f"{path}: is a folder; name a file in it")
        if path.is_symlink():
            raise ToolError(f"{path}: is a link, whose place an output cannot take; name the file that it points to")
        if path.exists() and not path.is_file():
            raise ToolError(f"{path}: is not a regular file and cannot be replaced; name another")
        where = path.resolve()
        if where in used:
            raise ToolError(f"{path}: is an input too; give {flag} another path")
        if (other := seen.setdefault(where, name)) != name:
            raise ToolError(f"{path}: would be written twice, as {other} and as {name}; give one another path")
        _refuse_file_of_run(where)


def _refuse_file_of_run(path: Path) -> None:
    """The files of a finished run, and of one being made, are no command's to replace."""
    for folder in path.parents:
        if (folder / MANIFEST).is_file():
            outputs = _read(folder / MANIFEST).get("outputs")
            listed = outputs if isinstance(outputs, dict) else {}
            if path.name == MANIFEST or path.relative_to(folder).as_posix() in listed:
                raise ToolError(f"{path}: is a file of the run in {folder}; choose another path")
        elif path.exists() and (folder / "draft.json").is_file():
            raise ToolError(f"{path}: is a file of the unfinished run in {folder}; choose another path")


@contextmanager
def _lock_of(path: Path) -> Iterator[None]:
    busy = f"{path}: another process is writing this file; wait for it, or choose another path"
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path.with_name(f".{path.name}.lock"), busy))
        except OSError as error:
            raise unwritable(path, error) from error
        yield


class _Set:
    """The drafts of one set of files, and how they take their places."""

    def __init__(
        self, tool: str, paths: dict[str, Path], listing: Path, journal: Path, record: str | None, flag: str,
        overwrite: bool, replaces: Path | None, run: Path | None,
    ) -> None:  # fmt: skip
        self._tool, self._paths, self._listing, self._journal = tool, paths, listing, journal
        self._record, self._flag, self._overwrite, self._replaces = record, flag, overwrite, replaces
        self._run = run
        self._drop_drafts()
        self._token = secrets.token_hex(8)
        self.drafts: Mapping[str, Path] = {name: self._draft(path) for name, path in paths.items()}

    def _draft(self, path: Path) -> Path:
        return path.with_name(f".{path.name}.{self._token}.draft")

    def there(self) -> tuple[dict[Path, str], list[Path]]:
        """The files of the set that stand there with their hashes, as this command wrote them, and those that it did
        not write. Raises ToolError naming one of the latter, unless they may be replaced."""
        listed = recorded(self._listing, self._tool)
        own = {path: sha256 for path, sha256 in listed.items() if path.is_file() and sha256_file(path) == sha256}
        others = [path for path in self._paths.values() if path.exists() and path.resolve() not in own]
        if listed and self._record and self._listing in others:
            others.remove(self._listing)
        others = [path for path in others if path != self._replaces]
        if others and not self._overwrite:
            raise ToolError(
                f"{others[0]}: is there, and not as {self._tool} wrote it; choose another {self._flag}, or pass "
                "--overwrite to replace it"
            )
        return own, others

    def publish(self) -> None:
        """Put the drafts in place; the journal is what a kill leaves."""
        drafts = {name: draft for name, draft in self.drafts.items() if draft.exists()}
        if not drafts:
            return
        outputs = {name: describe(self._listing, self._paths[name], draft) for name, draft in drafts.items()}
        if self._record is None:
            listing = self._draft(self._listing)
            of_run = {"run_sha256": sha256_file(self._run / MANIFEST)} if self._run else {}
            about = {"schema_version": RECORD_VERSION, "tool": self._tool, **of_run}
            write_json(listing, {**about, "outputs": outputs})
        else:
            listing = drafts.pop(self._record)
        own, others = self.there()
        moves = [(draft, self._paths[name], outputs[name]["sha256"]) for name, draft in drafts.items()]
        moves.append((listing, self._listing, sha256_file(listing)))
        for draft, _, _ in moves:
            _sync(draft)
        here = self._listing.resolve().parent
        places = {path.resolve() for path in self._paths.values()}
        journal = self._draft(self._journal)
        write_json(
            journal,
            {
                "aside": [[self._told(p), f".{p.name}.{secrets.token_hex(8)}.replaced"] for p in others],
                "old": [[self._told(p), sha256] for p, sha256 in own.items() if p in places or p.parent == here],
                "moves": [[self._told(draft), self._told(path), sha256] for draft, path, sha256 in moves],
            },
        )
        journal.replace(self._journal)
        sync_folder(self._journal.parent)
        complete(self._journal)

    def _told(self, path: Path) -> str:
        """Relative to the journal's folder, so that both may move."""
        return os.path.relpath(path.resolve(), self._journal.resolve().parent)

    def clean(self) -> None:
        """Delete the drafts, unless the journal still speaks of them."""
        if not self._journal.exists():
            self._drop_drafts()

    def _drop_drafts(self) -> None:
        for path in (*self._paths.values(), self._listing, self._journal):
            _drop_drafts(path)


def describe(listing: Path, path: Path, written: Path | None = None) -> dict[str, Any]:
    """What a record says of the file at `path`, now at `written`: its path is relative to the record where it can be,
    so that a folder may move as a whole."""
    here, there = listing.resolve().parent, path.resolve()
    name = there.relative_to(here).as_posix() if there.is_relative_to(here) else str(there)
    return {"path": name, "bytes": (written or path).stat().st_size, "sha256": sha256_file(written or path)}


def recorded(listing: Path, tool: str) -> dict[Path, str]:
    """The resolved path and hash of each file in a record that `tool` wrote; empty where there is none."""
    data = _read(listing)
    outputs = data.get("outputs")
    if data.get("tool") != tool or not isinstance(outputs, dict):
        return {}
    here = listing.resolve().parent
    entries = [entry for entry in outputs.values() if isinstance(entry, dict) and isinstance(entry.get("path"), str)]
    return {(here / entry["path"]).resolve(): str(entry.get("sha256")) for entry in entries}


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def complete(journal: Path) -> None:
    """Carry out a journal, from wherever a kill has stopped it; nothing to do without one.

    What is deleted has the hash that was noted, and a file that has its new content already stays.
    """
    if not journal.is_file():
        return
    told, here = _read(journal), journal.resolve().parent

    def at(name: str) -> Path:
        return Path(os.path.normpath(here / name))

    moves = [(at(draft), at(path)) for draft, path, _ in told.get("moves", [])]
    waiting = {path for draft, path in moves if draft.exists()}
    for path, name in ((at(path), Path(name).name) for path, name in told.get("aside", [])):
        if path in waiting and path.exists() and not path.with_name(name).exists():
            path.rename(path.with_name(name))
            say(f"{path}: what was there is kept as {name}")
    if moves and moves[-1][1] in waiting:
        moves[-1][1].unlink(missing_ok=True)
    stays = {moves[0][1], *(path for _, path in moves if path not in waiting)} if moves else set()
    for path, sha256 in ((at(path), sha256) for path, sha256 in told.get("old", [])):
        if path not in stays and path.is_file() and sha256_file(path) == sha256:
            path.unlink()
    for draft, path in moves:
        with contextlib.suppress(FileNotFoundError):
            draft.replace(path)
    for folder in {path.parent for _, path in moves}:
        sync_folder(folder)
    journal.unlink()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _drop_drafts(path: Path) -> None:
    """Delete what drafts of this file a kill has left: under its lock they are nobody's."""
    ours = re.compile(rf"\.+{re.escape(path.name)}\.[0-9a-f]{{16}}\.draft(\.\d+-[0-9a-f]{{8}}\.tmp)?\Z")
    for entry in os.scandir(path.parent or "."):
        if entry.name.startswith(".") and ours.match(entry.name) and entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)
