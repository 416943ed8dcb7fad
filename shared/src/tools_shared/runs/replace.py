"""Giving a whole draft its final name, and what may be deleted for it: the files of a finished run of ours, no others.

A run that is replaced is first moved aside under a hidden, random name beside it, which the draft's state notes; then
the draft takes its name; then the files that the old run wrote are deleted. A kill in between leaves the note, and the
next start completes what it says.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools_shared.console import say
from tools_shared.costs.meter import FILE as USAGE
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, sync_folder, write_json
from tools_shared.runs.read import MANIFEST, Manifest, partial_dir, read_manifest

STATE = "draft.json"
LOCK = ".lock"
REPLACED = "replaced"
"""In a draft's state: the hidden name that the run which it replaces was given."""
_OUR_OWN = frozenset((MANIFEST, STATE, LOCK, USAGE))


def check_replaceable(folder: Path) -> Manifest:
    """The finished run in `folder`. Raises ToolError, naming what is in the way, unless every file in it is one that
    the run's manifest lists, with the bytes that the run wrote."""
    if folder.is_symlink():
        raise ToolError(f"{folder}: is a link, whose place a run cannot take; name the folder that it points to")
    manifest = read_manifest(folder)
    listed = _listed(manifest)
    foreign = [name for name in _files(folder) if not _wrote(folder / name, name, listed)]
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ToolError(
            f"{folder}: {', '.join(sorted(foreign)[:3])}{more}: not as this run wrote it, so nothing is replaced; move "
            "it out of the folder, or choose another --output-dir"
        )
    return manifest


def _listed(manifest: Manifest) -> Mapping[str, str]:
    """The hash of each file that the run wrote. Raises ToolError for a manifest that is not one of a finished run."""
    data = manifest.data
    outputs = data.get("outputs")
    ours = data.get("status") == "finished" and str(data.get("tool", "")).startswith("tools-")
    if not ours or not isinstance(outputs, dict) or not all(isinstance(entry, dict) for entry in outputs.values()):
        raise ToolError(
            f"{manifest.path / MANIFEST}: does not say which files its run wrote, so none is replaced; move the folder "
            "away, or choose another --output-dir"
        )
    return {name: str(entry.get("sha256")) for name, entry in outputs.items()} | _added(manifest)


def _added(manifest: Manifest) -> dict[str, str]:
    """The files that a command of ours has added to this very run, by the records that it left (see `outputs`)."""
    found: dict[str, str] = {}
    for record in manifest.path.glob(".*.outputs.json"):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            told = json.loads(record.read_text(encoding="utf-8"))
            if told["run_sha256"] == manifest.sha256:
                found |= {str(entry["path"]): str(entry["sha256"]) for entry in told["outputs"].values()}
                found[record.name] = sha256_file(record)
    return found


def _files(folder: Path) -> Iterator[str]:
    """Every file and link below the folder, relative to it."""

    def stop(error: OSError) -> None:
        raise ToolError(f"{error.filename}: cannot be read ({error.strerror}), so nothing is replaced") from error

    for place, folders, files in os.walk(folder, onerror=stop):
        links = (name for name in folders if (Path(place) / name).is_symlink())
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in (*files, *links))


def _wrote(path: Path, name: str, listed: Mapping[str, str]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    return name in _OUR_OWN or (name in listed and sha256_file(path) == listed[name])


def publish(partial: Path, final: Path, overwrite: bool) -> None:
    """Give the whole draft its final name; with `overwrite` it takes the place of a finished run.

    Raises ToolError, the draft left whole, when anything else has that name.
    """
    if final.is_symlink() or (final.exists() and not (final.is_dir() and _is_empty(final))):
        if not overwrite:
            raise ToolError(
                f"{final}: appeared while the run was made, which is whole in {partial}; move it away and run the same "
                "command again"
            )
        check_replaceable(final)
        aside = final.with_name(f".{final.name}.{secrets.token_hex(8)}.replaced")
        _note(partial, aside.name)
        final.rename(aside)
    partial.rename(final)
    sync_folder(final.parent)
    _settle(final, verified=True)


def _note(partial: Path, name: str) -> None:
    state = json.loads((partial / STATE).read_text(encoding="utf-8"))
    write_json(partial / STATE, {**state, REPLACED: name})


def complete(final: Path) -> None:
    """Complete a publication that a kill interrupted, as far as the draft's state proves that there was one."""
    partial = partial_dir(final)
    if not final.exists() and not final.is_symlink() and (partial / MANIFEST).exists():
        partial.rename(final)
        sync_folder(final.parent)
    if (final / STATE).is_file() and (final / MANIFEST).is_file():
        _settle(final, verified=False)


def _settle(final: Path, verified: bool) -> None:
    state = final / STATE
    if state.exists():
        name = str(json.loads(state.read_text(encoding="utf-8")).get(REPLACED))
        ours = re.fullmatch(rf"\.{re.escape(final.name)}\.[0-9a-f]{{16}}\.replaced", name)
        if ours and (aside := final.with_name(name)).is_dir():
            _remove(aside, verified)
    for name in (USAGE, STATE, LOCK):
        (final / name).unlink(missing_ok=True)


def _remove(aside: Path, verified: bool) -> None:
    """Delete the files that the run in `aside` wrote, and the folders that are then empty; say what is left."""
    if _is_empty(aside):
        aside.rmdir()
        return
    listed = _listed(read_manifest(aside))
    for name in list(_files(aside)):
        path = aside / name
        if name != MANIFEST and (_wrote(path, name, listed) if not verified else name in {*listed, *_OUR_OWN}):
            path.unlink()
    for place, _, _ in os.walk(aside, topdown=False):
        if Path(place) != aside and _is_empty(Path(place)):
            Path(place).rmdir()
    # The manifest goes last: it is the proof by which an interrupted removal continues.
    if [path.name for path in aside.iterdir()] == [MANIFEST]:
        (aside / MANIFEST).unlink()
        aside.rmdir()
    else:
        say(f"{aside}: contains files that the replaced run did not write; they are kept there")


def _is_empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def refuse_inputs_inside(folder: Path, values: Mapping[str, Any]) -> None:
    """Raises ToolError when an option's value is a path in the folder that is about to be replaced: no output is an
    input."""
    here = folder.resolve()
    for name, value in values.items():
        if name.startswith("output"):
            continue
        for word in value if isinstance(value, list) else [value]:
            if isinstance(word, str) and any(_is_inside(part, here) for part in _paths_in(word)):
                raise ToolError(
                    f"--{name.replace('_', '-')} {word}: lies in {folder}, which --overwrite would replace; choose "
                    "another --output-dir"
                )


def _paths_in(word: str) -> Iterator[str]:
    """What may be a path in PATH, NAME=PATH, FILE.py:FUNCTION and in a pattern, whose folder is then meant."""
    for part in (word, word.partition("=")[2], word.partition(":")[0]):
        if part and "\0" not in part:
            yield part.partition("*")[0] or "."


def _is_inside(word: str, folder: Path) -> bool:
    path = Path(word).expanduser()
    try:
        return path.exists() and path.resolve().is_relative_to(folder)
    except OSError:
        return False
