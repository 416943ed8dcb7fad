"""What is known of a run while it is being made: its steps so far, the time left, and the samples as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_bench.comparison.stored_runs import ITEMS
from tools_bench.report.entries import cut
from tools_bench.report.history import History
from tools_bench.requests.journal import FILE as RESPONSES
from tools_bench.view.facts import LARGEST, MODELS
from tools_bench.view.places import Place
from tools_shared.errors import brief
from tools_shared.runs.replace import STATE

ROLLOUTS = "rollouts"
MOST_READ = 4 * 2**20
"""Bytes of a file of samples that are read, from its end."""
MOST_SAMPLES = 16


def draft_facts(place: Place, history: History, counts: LineCounts) -> dict[str, Any]:
    """One line about a run that is being made, or was interrupted: `is_running` is None where nothing tells."""
    state = _state(place.folder)
    options = state.get("identity") if isinstance(state.get("identity"), dict) else {}
    n_steps = _n_steps(options, history.last)
    step, pace = history.last.get("step"), history.seconds_a_step()
    to_do = n_steps - step if n_steps is not None and step is not None else None
    return {
        "id": place.id,
        "name": place.shown,
        "kind": brief(str(state.get("kind") or ""), 40, quoted=False),
        "model": brief(str(next((options[m] for m in MODELS if options.get(m)), "")), 200, quoted=False),
        "is_running": place.is_written(),
        "started": _started(state),
        "written": _written(place.folder),
        "step": step,
        "n_steps": n_steps,
        "seconds_left": max(0.0, to_do * pace) if to_do is not None and pace is not None else None,
        "latest": history.latest(),
        "n_replies": counts.of(place.folder / RESPONSES),
        "n_items": counts.of(place.folder / ITEMS),
    }


def _state(folder: Path) -> Mapping[str, Any]:
    try:
        path = folder / STATE
        data = json.loads(path.read_bytes()) if path.stat().st_size <= LARGEST else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _started(state: Mapping[str, Any]) -> str:
    sessions = state.get("sessions")
    first = sessions[0] if isinstance(sessions, list) and sessions else {}
    return brief(str(first.get("started", "")), 40, quoted=False) if isinstance(first, dict) else ""


def _written(folder: Path) -> str:
    """When the folder's records were written to last, as manifests write a time; empty where there are none yet."""
    times = []
    for name in ("metrics.jsonl", RESPONSES, ROLLOUTS, STATE):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else ""


def _n_steps(options: Mapping[str, Any], last: Mapping[str, float]) -> int | None:
    """How many steps the run will have: its own bound, else what its epochs come to at the present one."""
    bound, epochs = options.get("max_steps"), options.get("epochs")
    if isinstance(bound, int) and bound > 0:
        return bound
    if isinstance(epochs, int | float) and last.get("epoch", 0) > 0 and "step" in last:
        return max(int(last["step"]), round(last["step"] * epochs / last["epoch"]))
    return None


def latest_samples(folder: Path, step: int | None = None) -> dict[str, Any]:
    """The completions of a step of training (the last one), or the replies that came last; texts are cut.

    `step` is that of the file shown, `steps` the number of the first and the last that there are.
    """
    steps = _steps(folder / ROLLOUTS)
    if steps:
        shown = step if step in steps else max(steps)
        rows, is_whole = tail(folder / ROLLOUTS / f"step-{shown:06d}.jsonl", from_start=True)
        ends = {"first_step": min(steps), "last_step": max(steps)}
        return {"step": shown, **ends, "rows": [_rollout(row) for row in rows[:MOST_SAMPLES]], "is_whole": is_whole}
    rows, is_whole = tail(folder / RESPONSES)
    newest = [_response(row) for row in reversed(rows[-MOST_SAMPLES:])]
    return {"step": None, "rows": newest, "is_whole": is_whole}


def _steps(folder: Path) -> set[int]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return set()
    numbers = (name.removeprefix("step-").removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))
    return {int(number) for number in numbers if number.isascii() and number.isdigit()}


def tail(path: Path, from_start: bool = False) -> tuple[list[dict[str, Any]], bool]:
    """The whole lines of a JSONL's last (or first) `MOST_READ` bytes, and whether that is all of it."""
    if path.is_symlink() or not path.is_file():
        return [], True
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 0 if from_start else max(0, size - MOST_READ)
        file.seek(start)
        lines = file.read(MOST_READ).split(b"\n")[1 if start else 0 : -1]
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows, size <= MOST_READ


def _rollout(row: Mapping[str, Any]) -> dict[str, Any]:
    rewards = row.get("rewards")
    return {
        "key": f"{row.get('problem', '')}/{row.get('sample', '')}",
        "question": cut(str(row.get("prompt", ""))),
        "text": cut(str(row.get("completion", ""))),
        "finish_reason": str(row.get("finish_reason", "")),
        "n_tokens": row.get("n_tokens"),
        "reward": row.get("reward"),
        "rewards": rewards if isinstance(rewards, dict) else {},
        "advantage": row.get("advantage"),
    }


def _response(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": f"{row.get('task', '')}/{row.get('id', '')}",
        "question": "",
        "text": cut(str(row.get("text") or row.get("message") or "")),
        "finish_reason": str(row.get("error") or row.get("finish_reason") or ""),
        "n_tokens": row.get("tokens_out"),
    }


class LineCounts:
    """The number of lines of files that grow, each byte counted once."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, int]] = {}

    def of(self, path: Path) -> int | None:
        """None where there is no such file."""
        try:
            with path.open("rb") as file:
                found = os.fstat(file.fileno())
                inode, offset, n_lines = self._known.get(path, (0, 0, 0))
                if inode != found.st_ino or offset > found.st_size:
                    offset, n_lines = 0, 0
                file.seek(offset)
                while chunk := file.read(2**20):
                    offset, n_lines = offset + len(chunk), n_lines + chunk.count(b"\n")
        except OSError:
            return None
        self._known = dict([*self._known.items(), (path, (found.st_ino, offset, n_lines))][-64:])
        return n_lines
