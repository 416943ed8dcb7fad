"""The suites that come with the package, as a table: `tools-bench data list`, and docs/suites.md."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools_bench.requests.pins import HUB
from tools_bench.requests.power import detectable
from tools_bench.requests.suite import Suite, Task, load_suite, shipped

HEADINGS = ("suite", "kind", "questions", "detectable", "source", "pinned by", "licence")


def catalogue() -> list[dict[str, Any]]:
    """A mapping for each task of each shipped suite; `detectable` in points, None where the size is not known."""
    return [_entry(suite, task) for suite in map(load_suite, shipped()) for task in suite.tasks]


def _entry(suite: Suite, task: Task) -> dict[str, Any]:
    n = min(filter(None, (task.n, task.limit)), default=None)
    if task.leave_out:  # how many of the rows are asked is known when they are read
        n = None
    return {
        "suite": suite.name if len(suite.tasks) == 1 else f"{suite.name}: {task.name}",
        "kind": task.kind,
        "questions": n or (f"up to {task.n}" if task.n else None),
        "detectable": None if n is None else round(100 * detectable(n)),
        "source": _origin(task),
        "pinned by": _pin(task),
        "licence": task.licence,
    }


def _origin(task: Task) -> str:
    if task.source.startswith(HUB):
        return urlsplit(task.source).netloc + urlsplit(task.source).path
    if task.url is None:
        return task.home.removeprefix("https://") if task.home else "with the package"
    parts = urlsplit(task.url)
    owner, name = parts.path.removeprefix("/datasets/").strip("/").split("/")[:2]
    return f"{owner}/{name}"


def _pin(task: Task) -> str:
    if task.is_shipped_with_data:
        return "the package"
    words = parse_qs(urlsplit(task.source).query).get("revision", []) + (task.url or "").split("/")
    commit = next((w for w in words if len(w) in (7, 40) and set(w) <= set("0123456789abcdef")), None)
    sha256 = f"sha256 {task.sha256[:8]}" if task.sha256 and task.suite is not None else None
    found = [word for word in (f"commit {commit[:7]}" if commit else None, sha256) if word]
    return ", ".join(found) if sha256 else f"{', '.join(found)}; you pin the rows"


def as_markdown() -> str:
    """The table as Markdown."""
    rows = [["" if entry[name] is None else str(entry[name]) for name in HEADINGS] for entry in catalogue()]
    lines = [list(HEADINGS), ["---"] * len(HEADINGS), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
