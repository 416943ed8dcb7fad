"""`tools-bench data`: the files that suites pin, fetched once and checked by their hash."""

from __future__ import annotations

import hashlib
import urllib.request
from http.client import HTTPException
from pathlib import Path

from tools_bench.suite import DATA_SCHEME, Suite, Task, data_dir, load_suite
from tools_shared.cli import say
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, sha256_file

TIMEOUT = 60.0


def fetch(suite_name: str) -> list[str]:
    """Fetch what is missing or wrong; a line for each file. Raises ToolError when one cannot be had or is another."""
    lines = []
    for task in _pinned(load_suite(suite_name)):
        path = path_of(task)
        if path.exists() and sha256_file(path) == task.sha256:
            lines.append(f"{path}: here, as pinned ({task.licence})")
            continue
        say(f"fetching {task.url}")
        _store(task, path, _download(task))
        lines.append(f"{path}: fetched ({task.licence})")
    return lines


def verify(suite_name: str) -> list[str]:
    """A line for each pinned file; raises ToolError naming all that are missing or differ."""
    good, bad = [], []
    for task in _pinned(load_suite(suite_name)):
        path = path_of(task)
        if not path.exists():
            bad.append(f"{path} is missing")
        elif (found := sha256_file(path)) != task.sha256:
            bad.append(f"{path} differs from the pinned file (sha256 {found[:16]}, expected {str(task.sha256)[:16]})")
        else:
            good.append(f"{path}: as pinned")
    if bad:
        raise ToolError(f"{'; '.join(bad)}; run tools-bench data fetch --suite {suite_name}")
    return good


def path_of(task: Task) -> Path:
    return data_dir() / task.source.removeprefix(DATA_SCHEME)


def _pinned(suite: Suite) -> list[Task]:
    """The tasks with a file to fetch, each file once."""
    by_source = {task.source: task for task in suite.tasks if task.source.startswith(DATA_SCHEME) and task.url}
    return list(by_source.values())


def _download(task: Task) -> bytes:
    try:
        # The address stands in the suite that the user chose, and what comes is checked by its hash.
        with urllib.request.urlopen(str(task.url), timeout=TIMEOUT) as response:  # noqa: S310
            return response.read()
    except (OSError, HTTPException, ValueError) as error:
        raise ToolError(
            f"{task.url}: cannot be fetched ({error}); put the file at {path_of(task)} by hand, "
            f"or pass --datasets {task.name}=PATH to tools-bench run"
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
