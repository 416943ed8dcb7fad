"""Opening a run's draft, and the rules for refusing one or finding that nothing is left to do."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools_shared import processes
from tools_shared.cli import Invocation, say
from tools_shared.errors import Incomplete, ToolError
from tools_shared.runs.config import RunConfig
from tools_shared.runs.draft import LOCK, Draft, publish
from tools_shared.runs.read import MANIFEST, Manifest, partial_dir, read_manifest
from tools_shared.runs.refuse import refuse_changed_inputs, refuse_difference


def finished(output_dir: Path, config: RunConfig) -> Manifest | None:
    """The run that already stands in `output_dir`, if it has this configuration.

    None when there is none, or `--overwrite` asks for a new one. Raises ToolError when another run or other
    files stand there. A run that was whole but not yet renamed when its process died is published now. Where several
    processes work on one run, the others wait here for rank 0 to have checked everything and to have opened the draft.
    """
    if not processes.is_main():
        from tools_shared.runs.follower import told_finished

        return told_finished()
    manifest = _finished(output_dir, config)
    if manifest is not None:
        processes.announce({"finished": manifest.to_json()})
    return manifest


def _finished(output_dir: Path, config: RunConfig) -> Manifest | None:
    if not output_dir.exists() and (partial_dir(output_dir) / MANIFEST).exists():
        publish(partial_dir(output_dir), output_dir)
    if not output_dir.exists() or config.overwrite:
        return None
    if not output_dir.is_dir() or any(output_dir.iterdir()):
        manifest = read_manifest(output_dir)
        refuse_difference(
            manifest.identity, config.identity(), output_dir, "choose another --output-dir or pass --overwrite"
        )
        refuse_changed_inputs(manifest)
        say(f"{output_dir}: already finished, nothing to do")
        return manifest
    return None


@contextmanager
def draft(output_dir: Path, config: RunConfig, invocation: Invocation, kind: str) -> Iterator[Draft]:
    """Open the draft of a run, new or taken up again; `Draft.finish` publishes it.

    If the block raises, the draft stays for the next try; but where it is for a mistake of the user's, found before
    anything was made, it goes. Raises ToolError when another process writes it, or when a draft of another
    configuration stands there.
    """
    partial = partial_dir(output_dir)
    if not processes.is_main():
        from tools_shared.runs.follower import Follower

        yield Follower(output_dir, partial, config, invocation, kind)
        return
    if output_dir.is_symlink():
        raise ToolError(f"{output_dir}: is a link, whose place a run cannot take; name the folder that it points to")
    with _open_lock(partial) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError(
                f"{partial}: another process is writing this run; wait for it or choose another --output-dir"
            ) from None
        run = Draft(output_dir, partial, config, invocation, kind)
        processes.announce({"draft": run.state})
        try:
            yield run
        except Incomplete:
            raise
        except ToolError:
            run.drop_if_empty()
            raise


def _open_lock(partial: Path) -> IO[str]:
    """The draft's lock file, its folder made; raises ToolError where neither can be written or the folder is a link."""
    if partial.is_symlink():
        raise ToolError(f"{partial}: is a link, and a draft is written only where it is named; remove the link")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"{partial}: cannot make this folder ({error.strerror}); choose another --output-dir"
        ) from error
    try:
        return (partial / LOCK).open("w")
    except OSError as error:
        raise ToolError(
            f"{partial / LOCK}: cannot write this file ({error.strerror}); run as the user who began this run"
        ) from error
