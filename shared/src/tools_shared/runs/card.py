"""The short README.md of a run: what it is, its inputs and its result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from tools_shared.console import printable
from tools_shared.costs.record import cost_words


def card(name: str, manifest: Mapping[str, Any]) -> str:
    """Markdown for a person who opens the folder; the facts are those of the manifest."""
    inputs = [f"| {cell(i['name'])} | {_code(i['path'])} | `{i['sha256'][:16]}` |" for i in manifest["inputs"]]
    results = [f"| {cell(key)} | {cell(show_metric(value))} |" for key, value in manifest["metrics"].items()]
    sections = [
        f"# {name}\n\nA `{manifest['kind']}` run of {manifest['tool']} {manifest['tool_version']}, "
        f"finished {manifest['finished']}.",
        table("From", "| input | path | sha256 |\n| --- | --- | --- |", inputs),
        table("Settings", "| option | value |\n| --- | --- |", _settings(manifest["options"])),
        table("Result", "| metric | value |\n| --- | --- |", results),
        f"## Cost\n\n{cell(cost_words(manifest['cost']))}" if "cost" in manifest else "",
        "## Again\n\n`config.yaml` holds every option. This run was started as\n\n"
        + as_block(shlex.join(manifest["argv"]) or "a call from Python"),
        "## Key findings\n\n- (to be filled in)",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _settings(options: Mapping[str, Any]) -> list[str]:
    """What was chosen and not left at its default."""
    chosen = {
        name: o["value"] for name, o in options.items() if o["from"] != "default" and o["value"] not in (None, ())
    }
    return [f"| {name} | {cell(value)} |" for name, value in chosen.items()]


def cell(value: Any) -> str:
    """A value in a Markdown table: none of it is taken for Markdown, HTML or the table's own lines."""
    text = printable(" ".join(str(value).split("\n")))
    return re.sub(r"[|<>`]", lambda found: f"&#{ord(found[0])};", text)


def _code(path: str) -> str:
    """A path in the type of code, where nothing in it would end that or the table's cell."""
    return f"`{path}`" if path.isprintable() and not set("`|") & set(path) else cell(path)


def as_block(text: str) -> str:
    """Text as it is, in a fence that is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{printable(text)}\n{fence}"


def table(title: str, head: str, rows: list[str]) -> str:
    """A section with a table; nothing where it has no rows."""
    return f"## {title}\n\n{head}\n" + "\n".join(rows) if rows else ""


def show_metric(value: Any) -> str:
    """A rate as `41.2 % [37.0, 45.5], n=512`, another mean as `1.234 [1.1, 1.4], n=64`; any other value as it is."""
    if isinstance(value, Mapping) and {"estimate", "low", "high", "n"} <= set(value):
        return f"{100 * value['estimate']:.1f} % [{100 * value['low']:.1f}, {100 * value['high']:.1f}], n={value['n']}"
    if isinstance(value, Mapping) and {"mean", "low", "high", "n"} <= set(value):
        return f"{value['mean']:.4g} [{value['low']:.4g}, {value['high']:.4g}], n={value['n']}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
