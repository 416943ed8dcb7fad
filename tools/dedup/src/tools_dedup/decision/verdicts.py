"""What a person decided in the report: keep or remove, by the hash of the training text."""

from __future__ import annotations

import json
from pathlib import Path

from tools_shared.errors import ToolError

KIND = "tools-dedup verdicts"
ALLOWED = ("keep", "remove")


def read_verdicts(path: str) -> dict[str, str]:
    """`{"kind": "tools-dedup verdicts", "verdicts": [{"train_id": HASH, "verdict": "keep" | "remove"}]}` as a mapping.

    Raises ToolError when it is something else or says two things of one text.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["kind"] != KIND:
            raise ValueError(f"kind is {content['kind']!r}")
        pairs = [(entry["train_id"], entry["verdict"]) for entry in content["verdicts"]]
    except OSError as error:
        raise ToolError(f"{path}: cannot be read ({error.strerror}); save the verdicts in the report") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ToolError(f"{path}: not verdicts saved from a report ({error})") from error
    found: dict[str, str] = {}
    for train_id, verdict in pairs:
        if verdict not in ALLOWED:
            raise ToolError(f"{path}: the verdict on {train_id} is {verdict!r}; write keep or remove")
        if found.setdefault(train_id, verdict) != verdict:
            raise ToolError(f"{path}: {train_id} has two verdicts; leave one")
    return found
