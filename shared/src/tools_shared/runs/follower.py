"""A run as the processes beside rank 0 see it: the same paths and state, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools_shared import processes
from tools_shared.cli import Invocation
from tools_shared.costs.meter import Meter
from tools_shared.costs.record import shared_tokens
from tools_shared.errors import ToolError
from tools_shared.records import Rejected
from tools_shared.runs.config import RunConfig
from tools_shared.runs.draft import Draft
from tools_shared.runs.read import Manifest

_state: dict[str, Any] = {}


def told_finished() -> Manifest | None:
    """What rank 0's `finished` found; where it opened a draft instead, that draft's state is kept for `Follower`."""
    message = processes.announced()
    if "finished" in message:
        return Manifest.from_json(message["finished"])
    _state.update(message["draft"])
    return None


class Follower(Draft):
    """Rank 0's draft, followed: what it would write, rank 0 writes; what is decided, rank 0 has decided."""

    def __init__(self, final: Path, path: Path, config: RunConfig, invocation: Invocation, kind: str) -> None:
        self.final, self.path, self.kind = final, path, kind
        self.config, self.invocation = config, invocation
        self._state = dict(_state)
        self.meter: Meter | None = None
        self.resumed = len(self._state["sessions"]) > 1

    def debug_path(self, ending: str) -> Path:
        return self.path / "debug" / f"{self.kind}_{self.run_id}{ending}"

    def add_input(self, name: str, path: str, sha256: str, run_sha256: str | None = None, **more: Any) -> None:
        """Raises ToolError when this machine sees other data than rank 0's."""
        if processes.share(sha256) != sha256:
            raise ToolError(f"{path}: rank 0 reads other data under this name; give every machine the same files")
        self._state["inputs"][name] = {"name": name, "path": path, "sha256": sha256, "run_sha256": run_sha256, **more}

    def reject(self, rows: Iterable[Rejected]) -> None:
        pass

    def log(self, values: Mapping[str, Any]) -> None:
        pass

    def rewind(self, step: int) -> None:
        pass

    def finish(
        self,
        metrics: Mapping[str, Any],
        seed: int | None = None,
        profile: str | None = None,
        keep_checkpoints: bool = False,
    ) -> Manifest:
        """Rank 0's manifest, once it has published the run."""
        processes.gather(shared_tokens(self.meter) if self.meter is not None else [])
        return Manifest.from_json(processes.share({}))
