"""The model card of a run on a hub: its own figures, what they were measured on, and how it was made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tools_shared.prompts import Profile
from tools_shared.runs import Manifest
from tools_shared.runs.card import as_block, cell, show_metric, table
from tools_shared.runs.lineage import undeduplicated

_ABSOLUTE = re.compile(r"(?<![\w./:])/(?:[^\s/:?&=]+/)+")
"""Folders of this machine, which a card does not tell."""


def model_card(name: str, run: Manifest, profile: Profile, base: str | None) -> str:
    """Markdown with the hub's header; `base` is the hub's name of the model that an adapter belongs to, None for whole
    weights."""
    data = run.data
    inputs = data["inputs"]
    begun = next((one["path"] for one in inputs if one["name"] == "base_model"), None)
    facts = [f"| {_told(key)} | {_told(show_metric(value))} |" for key, value in run.metrics.items()]
    sources = [
        f"| {_told(one['name'])} | {_told(one['path'])} | {one.get('n_used', '')} | `{one['sha256'][:16]}` |"
        for one in inputs
    ]
    sections = [
        _header(base),
        f"# {_told(name)}\n\nTrained by `{data['tool']}` {data['tool_version']} (`{run.kind}`"
        + (f", from {_told(begun)}" if begun else "")
        + f"), finished {data['finished']}. "
        + (f"An adapter for {_told(base)}." if base else "Whole weights."),
        table("Figures", "| metric | value |\n| --- | --- |", facts),
        "Rates are given with their 95 % interval and the number of problems, as the run itself measured them."
        if facts
        else "",
        _warned(inputs),
        table("Made from", "| input | source | rows used | sha256 |\n| --- | --- | --- | --- |", sources),
        "## Prompt\n\n" + _prompt(profile),
        "## Command\n\n" + as_block(_plain(shlex.join(data["argv"])) or "a call from Python"),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(base: str | None) -> str:
    lines = ["---", f"library_name: {'peft' if base else 'transformers'}", "pipeline_tag: text-generation"]
    return "\n".join([*lines, *([f"base_model: {base}"] if base else []), "tags: [post-training]", "---"])


def _prompt(profile: Profile) -> str:
    tags = [f"the answer stands between `{profile.answer[0]}` and `{profile.answer[1]}`"]
    if profile.think:
        tags.insert(0, f"the reasoning stands between `{profile.think[0]}` and `{profile.think[1]}`")
    said = f"Profile `{profile.name}`: {'; '.join(tags)}. The system message that it was trained with:"
    return f"{said}\n\n{as_block(profile.system)}"


def _warned(inputs: Iterable[Mapping[str, Any]]) -> str:
    paths = undeduplicated(inputs)
    if not paths:
        return ""
    told = ", ".join(_told(path) for path in paths)
    return f"The training data ({told}) was not compared with a test set: test questions may be among it."


def _told(value: Any) -> str:
    return cell(_plain(str(value)))


def _plain(text: str) -> str:
    """Text without the folders of this machine; what is relative stays, as the hub's names do."""
    home = f"{Path.cwd()}/"
    return _ABSOLUTE.sub("", text.replace(home, ""))
