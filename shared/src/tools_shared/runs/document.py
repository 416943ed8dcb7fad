"""What every manifest says, written here for run directories and for commands that write single files alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tools_shared.cli import Invocation
from tools_shared.config import Config
from tools_shared.runs import facts
from tools_shared.runs.read import SCHEMA_VERSION


def document(
    kind: str,
    invocation: Invocation,
    config: Config,
    *,
    seed: int | None,
    inputs: Iterable[Mapping[str, Any]],
    outputs: Mapping[str, Any],
    metrics: Mapping[str, Any],
    started: str,
    **more: Any,
) -> dict[str, Any]:
    """The manifest of a finished run, as JSON holds it; `more` are further keys, put behind the metrics."""
    values = config.to_dict()
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "status": "finished",
        "tool": invocation.tool,
        "tool_version": invocation.version,
        "argv": list(invocation.argv),
        "options": {n: {"value": v, "from": invocation.origins.get(n, "call")} for n, v in values.items()},
        "identity": json.loads(json.dumps(config.identity())),
        "seed": seed,
        "inputs": list(inputs),
        "outputs": dict(outputs),
        "metrics": dict(metrics),
        **more,
        "started": started,
        "finished": now(),
        "host": facts.host(),
        "environment": facts.environment(),
        "packages": facts.package_versions(),
        "git": facts.git_state(),
    }


def now() -> str:
    """This moment as manifests write it: UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
