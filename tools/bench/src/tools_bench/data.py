"""`tools-bench data`: the files that suites pin, fetched once and checked by their hash."""

from __future__ import annotations

import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tools_bench.requests.pins import HUB, check_rows, names_commit, rows_sha256
from tools_bench.requests.suite import DATA_SCHEME, Suite, Task, data_dir, load_suite, pins_file
from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file

TIMEOUT = 60.0


def fetch(suite_name: str) -> list[str]:
    """Fetch what is missing or wrong; a line for each source. Raises ToolError when one cannot be had or is another.

    What comes by `hf://` is fetched by reading it, into the cache of `datasets`.
    """
    lines = []
    for task in _sources(load_suite(suite_name)):
        if not task.source.startswith(DATA_SCHEME) or task.url is None:
            lines.append(_checked(task))
            continue
        path = path_of(task)
        if path.exists() and sha256_file(path) == task.sha256:
            lines.append(f"{path}: here, as pinned ({task.licence})")
            continue
        say(f"fetching {task.url}")
        _store(task, path, _download(task))
        lines.append(f"{path}: fetched ({task.licence})")
    return lines


def verify(suite_name: str) -> list[str]:
    """A line for each source; raises ToolError naming all that are missing, differ, or are not pinned at all."""
    good, bad = [], []
    for task in _sources(load_suite(suite_name)):
        try:
            good.append(_checked(task))
        except ToolError as error:
            bad.append(str(error))
    if bad:
        raise ToolError(f"{'; '.join(bad)}; run tools-bench data fetch --suite {suite_name}")
    return good


def _checked(task: Task) -> str:
    """A sentence that says that the task's data is what the suite pins; raises ToolError with one that says it is
    not."""
    if task.source.startswith(HUB):
        return _checked_rows(task)
    if not task.source.startswith(DATA_SCHEME):
        task.location()
        return f"{task.source}: {'as pinned' if task.sha256 else 'with the suite, not pinned'}"
    path = path_of(task)
    if not path.exists():
        raise ToolError(f"{path} is missing{f'; get it from {task.home}' if task.home else ''}")
    if task.sha256 is None:
        raise ToolError(f"{path} is not pinned: {_pin_line(task, sha256_file(path))}")
    if (found := sha256_file(path)) != task.sha256:
        raise ToolError(f"{path} differs from the pinned file (sha256 {found[:16]}, expected {task.sha256[:16]})")
    return f"{path}: as pinned"


def _checked_rows(task: Task) -> str:
    if not names_commit(task.source):
        raise ToolError(f"{task.source} is not pinned: a branch or tag can move; name the commit with &revision=")
    if task.sha256 is None:
        raise ToolError(f"{task.source} is pinned by its commit only: {_pin_line(task, rows_sha256(task.source))}")
    check_rows(task.source, task.sha256)
    return f"{task.source}: rows as pinned"


def _pin_line(task: Task, sha256: str) -> str:
    """The line that pins a task, and where to write it."""
    if task.suite is None:
        return f"write the sha256 of its rows into the suite ({sha256})"
    return f'add this line to {pins_file()}: {task.suite}/{task.name}: "{sha256}"'


def path_of(task: Task) -> Path:
    return data_dir() / task.source.removeprefix(DATA_SCHEME)


def _sources(suite: Suite) -> list[Task]:
    """The tasks, each source once."""
    return list({task.source: task for task in suite.tasks}.values())


def _download(task: Task) -> bytes:
    try:
        # The address is in the suite that the user chose, and what comes is checked by its hash.
        with urllib.request.urlopen(str(task.url), timeout=TIMEOUT) as response:  # noqa: S310
            return response.read()
    except (OSError, HTTPException, ValueError) as error:
        raise ToolError(
            f"{task.url}: cannot be fetched ({error}); put the file at {path_of(task)} by hand, "
            f"or pass --data {task.name}=PATH to tools-bench run"
        ) from error


def _store(task: Task, path: Path, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != task.sha256:
        raise ToolError(
            f"{task.url}: is not the file that the suite pins (sha256 {found[:16]}, expected "
            f"{str(task.sha256)[:16]}); nothing was stored"
        )
    with atomic_write(path, "wb") as file:
        file.write(content)
