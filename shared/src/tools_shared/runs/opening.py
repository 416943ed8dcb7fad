"""Opening a run's draft, and the rules for refusing one or finding that nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools_shared import processes
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.costs.meter import metering
from tools_shared.costs.prices import known_prices
from tools_shared.errors import Incomplete, ToolError
from tools_shared.files.locks import locked
from tools_shared.runs.config import RunConfig
from tools_shared.runs.draft import Draft
from tools_shared.runs.read import MANIFEST, Manifest, partial_dir, read_manifest
from tools_shared.runs.refuse import refuse_changed_inputs, refuse_difference
from tools_shared.runs.replace import LOCK, STATE, check_replaceable, complete, publish, refuse_inputs_inside


def finished(output_dir: Path, config: RunConfig) -> Manifest | None:
    """The run that is already in `output_dir`, if it has this configuration.

    None when there is none, or `--overwrite` asks for a new one. Raises ToolError when another run or other files
    stand there; with `--overwrite`, unless all that is there is a finished run as its command wrote it. A run that
    was whole but not yet renamed when its process died is published now. Where several processes work on one run, the
    others wait here for rank 0 to have checked everything and to have opened the draft.
    """
    if not processes.is_main():
        from tools_shared.runs.follower import told_finished

        return told_finished()
    manifest = _finished(output_dir, config)
    if manifest is not None:
        processes.announce({"finished": manifest.to_json()})
    return manifest


def _finished(output_dir: Path, config: RunConfig) -> Manifest | None:
    partial = partial_dir(output_dir)
    if (partial / MANIFEST).exists() or (output_dir / STATE).exists():
        with _lock_of(output_dir if (output_dir / STATE).exists() else partial):
            complete(output_dir)
    if not output_dir.exists() or (output_dir.is_dir() and next(output_dir.iterdir(), None) is None):
        return None
    if config.overwrite:
        read_manifest(output_dir)
        refuse_inputs_inside(output_dir, config.to_dict())
        check_replaceable(output_dir)
        return _made_already(output_dir, partial, config)
    manifest = read_manifest(output_dir)
    refuse_difference(
        config.renamed(manifest.identity),
        config.identity(),
        output_dir,
        "choose another --output-dir or pass --overwrite",
    )
    refuse_changed_inputs(manifest)
    say(f"{output_dir}: already finished, nothing to do")
    return manifest


def _made_already(output_dir: Path, partial: Path, config: RunConfig) -> Manifest | None:
    """The whole draft of the same run, published in place of what is there: its process could not do it."""
    if config.resume == "never" or not (partial / MANIFEST).exists():
        return None
    made = read_manifest(partial)
    try:
        refuse_difference(config.renamed(made.identity), config.identity(), partial, "")
        refuse_changed_inputs(made)
    except ToolError:
        return None
    with _lock_of(partial):
        publish(partial, output_dir, overwrite=True)
    say(f"{output_dir}: was finished before and is put in place now")
    return read_manifest(output_dir)


@contextmanager
def draft(output_dir: Path, config: RunConfig, invocation: Invocation, kind: str) -> Iterator[Draft]:
    """Open the draft of a run, new or resumed; `Draft.finish` publishes it.

    If the block raises, the draft stays for the next try; but where it is for a mistake of the user's, found before
    anything was made, it goes. Raises ToolError when another process writes it, or when a draft of another
    configuration is there.
    """
    partial = partial_dir(output_dir)
    if not processes.is_main():
        from tools_shared.runs.follower import Follower

        with metering(None) as meter:
            follower = Follower(output_dir, partial, config, invocation, kind)
            follower.meter = meter
            yield follower
        return
    if output_dir.is_symlink():
        raise ToolError(f"{output_dir}: is a link, whose place a run cannot take; name the folder that it points to")
    if partial.is_symlink():
        raise ToolError(f"{partial}: is a link, and a draft is written only where it is named; remove the link")
    known_prices()  # what is wrong in the price file is said before anything is made
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(
            f"{partial}: cannot make this folder ({error.strerror}); choose another --output-dir"
        ) from error
    with _lock_of(partial):
        run = Draft(output_dir, partial, config, invocation, kind)
        processes.announce({"draft": run.state})
        try:
            with metering(partial) as run.meter:
                yield run
        except Incomplete:
            raise
        except ToolError:
            run.drop_if_empty()
            raise


@contextmanager
def _lock_of(folder: Path) -> Iterator[None]:
    """Hold the lock of a draft; raises ToolError when another process does, or it cannot be written."""
    busy = f"{folder}: another process is writing this run; wait for it or choose another --output-dir"
    try:
        # The lock goes with the folder, which is renamed or dropped while it is held.
        with locked(folder / LOCK, busy, keep=True):
            yield
    except OSError as error:
        if error.filename != str(folder / LOCK):
            raise
        raise ToolError(
            f"{folder / LOCK}: cannot write this file ({error.strerror}); run as the user who began this run"
        ) from error
