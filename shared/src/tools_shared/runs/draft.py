"""A run while it is being written, and the rules for resuming and publishing it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools_shared import processes
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.costs.meter import FILE as USAGE
from tools_shared.costs.meter import Meter
from tools_shared.costs.prices import known_prices
from tools_shared.costs.record import cost_record
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file, share_as, whole_lines, write_json, write_jsonl
from tools_shared.files.journal import append
from tools_shared.records import Rejected
from tools_shared.runs.card import card
from tools_shared.runs.config import RunConfig
from tools_shared.runs.document import document, now
from tools_shared.runs.read import MANIFEST, Manifest, read_manifest
from tools_shared.runs.refuse import refuse_difference
from tools_shared.runs.replace import LOCK, STATE, publish
from tools_shared.sources import Collected

CHECKPOINTS = "checkpoints"
REJECTED = "rejected.jsonl"


class Draft:
    """A run being written: where its files go, and what its manifest will say."""

    def __init__(self, final: Path, path: Path, config: RunConfig, invocation: Invocation, kind: str) -> None:
        self.final, self.path, self.kind = final, path, kind
        self.config: Any = config  # the command's own, with more options than every run has
        self.invocation = invocation
        self._metrics_path = path / "metrics.jsonl"
        self.meter: Meter | None = None
        self._began = time.monotonic()
        self._state = self._take_up() or self._begin()
        self.resumed = len(self._state["sessions"]) > 1
        if not (path / REJECTED).exists():
            self.reject([])

    @property
    def state(self) -> dict[str, Any]:
        """What `draft.json` holds: identity, kind, run id, sessions, inputs."""
        return self._state

    @property
    def run_id(self) -> str:
        return self._state["run_id"]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """What has been noted with `add_input`."""
        return list(self._state["inputs"].values())

    @property
    def model_dir(self) -> Path:
        return self.path / "model"

    @property
    def checkpoint_dir(self) -> Path:
        """Where training keeps what it needs to resume; not part of the finished run."""
        return self.path / CHECKPOINTS

    def debug_path(self, ending: str) -> Path:
        """`debug/STAGE_RUNID<ending>`, its folder made."""
        folder = self.path / "debug"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.kind}_{self.run_id}{ending}"

    def add_input(self, name: str, path: str, sha256: str, run_sha256: str | None = None, **more: Any) -> None:
        """Note what the run is made from; raises ToolError when the data changed since it began."""
        entry = {"name": name, "path": path, "sha256": sha256, "run_sha256": run_sha256, **more}
        before = self._state["inputs"].get(name)
        if before is not None and before["sha256"] != sha256:
            raise ToolError(
                f"{path}: has changed since this run began ({self.path}); restore it or pass --resume never"
            )
        self._state["inputs"][name] = entry
        self._save_state()
        processes.share(sha256)

    def add_sources(self, name: str, read: Collected[Any], n_used: int | None = None) -> None:
        """Note the data that the run is made from, each source with its hash; `n_used` where less is used than was
        read."""
        for told, one in read.named(name).items():
            used = n_used if n_used is not None and len(read.sources) == 1 else one.n_used
            self.add_input(told, one.spec, one.sha256, n_read=one.n_read, n_used=used)

    def reject(self, rows: Iterable[Rejected]) -> None:
        """Write `rejected.jsonl`: every input row that is not used, with file, line and reason."""
        write_jsonl(self.path / REJECTED, (row.to_json() for row in rows))

    def log(self, values: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        append(self._metrics_path, [values])

    def rewind(self, step: int) -> None:
        """Forget logged steps after `step`, from which training resumes; notes in the manifest that it did."""
        if self._metrics_path.exists():
            rows = map(json.loads, whole_lines(self._metrics_path))
            write_jsonl(self._metrics_path, [row for row in rows if row.get("step", 0) <= step])
        self._state["sessions"][-1]["from_step"] = step
        self._save_state()

    def finish(
        self,
        metrics: Mapping[str, Any],
        seed: int | None = None,
        profile: str | None = None,
        keep_checkpoints: bool = False,
    ) -> Manifest:
        """Publish the run: configuration, card and manifest are written, then the folder takes its final name.

        `keep_checkpoints` where `checkpoints/` holds the result and not what an interrupted run resumes from.
        """
        if not keep_checkpoints:
            shutil.rmtree(self.checkpoint_dir, ignore_errors=True)
        (self.path / "config.yaml").write_text(_yaml(self.config.to_dict()), encoding="utf-8")
        empty: list[Any] = []
        others = [row for part in processes.gather(empty)[1:] for row in part]
        manifest = self._manifest(metrics, seed, profile)
        if self.meter is not None:
            manifest["cost"] = cost_record(self.meter, known_prices(), others)
        (self.path / "README.md").write_text(card(self.final.name, manifest), encoding="utf-8")
        share_as(self.path / "README.md", self.path)
        manifest["outputs"] = self._outputs()
        write_json(self.path / MANIFEST, manifest)
        publish(self.path, self.final, self.config.overwrite)
        published = read_manifest(self.final)
        processes.share(published.to_json())
        return published

    def drop_if_empty(self) -> None:
        """Delete the draft where nothing has been made yet: it would only get in the way of corrected options."""
        made = (p for p in self.path.rglob("*") if p.is_file() and p.name not in (LOCK, STATE, USAGE, REJECTED))
        if next(made, None) is None:
            shutil.rmtree(self.path)

    def _take_up(self) -> dict[str, Any] | None:
        """The state of an interrupted draft, after the checks; None when there is none to resume from."""
        state_path = self.path / STATE
        if not state_path.exists():
            self._refuse_strangers()
            return None
        if self.config.resume == "never" or (self.config.overwrite and self._whole()):
            self._clear()
            return None
        state = json.loads(state_path.read_text(encoding="utf-8"))
        remedy = "finish it with its own options, pass --resume never to start over, or choose another --output-dir"
        refuse_difference(self.config.renamed(state["identity"]), self._identity(), self.path, remedy)
        state["sessions"].append({"started": now()})
        self._save(state)
        say(f"{self.path}: resuming the interrupted run")
        return state

    def _whole(self) -> bool:
        return (self.path / MANIFEST).exists()

    def _refuse_strangers(self) -> None:
        """A folder without our state that holds anything else is not ours to clear."""
        for entry in self.path.iterdir():
            if entry.name != LOCK and not entry.name.startswith(f".{STATE}."):
                raise ToolError(
                    f"{self.path} is not the draft of a run (it contains '{entry.name}'); choose another --output-dir"
                )

    def _clear(self) -> None:
        for entry in self.path.iterdir():
            if entry.name == LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _begin(self) -> dict[str, Any]:
        run_id = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        about = {"kind": self.kind, "run_id": run_id, "sessions": [{"started": now()}]}
        state = {"identity": self._identity(), **about, "inputs": {}}
        self._save(state)
        return state

    def _identity(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.config.identity()))

    def _save_state(self) -> None:
        self._save(self._state)

    def _save(self, state: dict[str, Any]) -> None:
        write_json(self.path / STATE, state)

    def _manifest(self, metrics: Mapping[str, Any], seed: int | None, profile: str | None) -> dict[str, Any]:
        return document(
            self.kind,
            self.invocation,
            self.config,
            seed=seed,
            inputs=self.inputs,
            outputs={},
            metrics=metrics,
            started=self._state["sessions"][0]["started"],
            profile=profile,
            run_id=self.run_id,
            sessions=self._state["sessions"],
            seconds_last_session=round(time.monotonic() - self._began, 3),
        )

    def _outputs(self) -> dict[str, Any]:
        paths = sorted(p for p in self.path.rglob("*") if p.is_file() and p.name not in (LOCK, STATE, USAGE, MANIFEST))
        return {
            p.relative_to(self.path).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256_file(p)} for p in paths
        }


def _yaml(values: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)
