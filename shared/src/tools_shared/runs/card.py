"""The short README.md of a run: what this is, from what, with which result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any


def card(name: str, manifest: Mapping[str, Any]) -> str:
    """Markdown for a person who opens the folder; the facts are those of the manifest."""
    inputs = [f"| {i['name']} | `{i['path']}` | `{i['sha256'][:16]}` |" for i in manifest["inputs"]]
    results = [f"| {key} | {show_metric(value)} |" for key, value in manifest["metrics"].items()]
    sections = [
        f"# {name}\n\nA `{manifest['kind']}` run of {manifest['tool']} {manifest['tool_version']}, "
        f"finished {manifest['finished']}.",
        _table("From", "| input | path | sha256 |\n| --- | --- | --- |", inputs),
        _table("Settings", "| option | value |\n| --- | --- |", _settings(manifest["options"])),
        _table("Result", "| metric | value |\n| --- | --- |", results),
        "## Again\n\n`config.yaml` holds every option. This run was started as\n\n"
        f"```\n{shlex.join(manifest['argv']) or 'a call from Python'}\n```",
        "## Key findings\n\n- (to be filled in)",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _settings(options: Mapping[str, Any]) -> list[str]:
    """What was chosen and not left at its default."""
    chosen = {
        name: o["value"] for name, o in options.items() if o["from"] != "default" and o["value"] not in (None, ())
    }
    return [f"| {name} | {value} |" for name, value in chosen.items()]


def _table(title: str, head: str, rows: list[str]) -> str:
    return f"## {title}\n\n{head}\n" + "\n".join(rows) if rows else ""


def show_metric(value: Any) -> str:
    """A rate as `41.2 % [37.0, 45.5], n=512`; any other value as it is."""
    if isinstance(value, Mapping) and {"estimate", "low", "high", "n"} <= set(value):
        return f"{100 * value['estimate']:.1f} % [{100 * value['low']:.1f}, {100 * value['high']:.1f}], n={value['n']}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
