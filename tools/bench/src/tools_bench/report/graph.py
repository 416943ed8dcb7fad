"""The lineage of the runs: which data and which run each was made from, laid out in columns from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools_bench.report.entries import Entry


def lineage(entries: Sequence[Entry]) -> dict[str, Any]:
    """Nodes with their column (longest way from data) and edges by node id.

    A run is known by its manifest's hash, a file by its own, so the same file under two paths is one node; what has an
    address (`hf://`, `demo://`) by that, since its hash is that of the rows that were read.
    """
    runs = {e.manifest.sha256: e for e in entries}
    nodes: dict[str, dict[str, Any]] = {
        sha: {"id": sha, "label": e.name, "kind": e.manifest.kind, "run": True} for sha, e in runs.items()
    }
    edges: list[dict[str, str]] = []
    for sha, entry in runs.items():
        for given in entry.manifest.data["inputs"]:
            data = given["path"] if "://" in given["path"] else given["sha256"]
            source = given.get("run_sha256") or f"data:{data}"
            if source not in nodes:
                kind = "run, not in this report" if given.get("run_sha256") else "data"
                nodes[source] = {"id": source, "label": short(given["path"]), "kind": kind, "run": False}
            edge = {"from": source, "to": sha, "label": given["name"]}
            if edge not in edges and source != sha:
                edges.append(edge)
    for node in nodes.values():
        node["column"] = 0
    for _ in nodes:  # as many rounds as the longest way can have
        for edge in edges:
            nodes[edge["to"]]["column"] = max(nodes[edge["to"]]["column"], nodes[edge["from"]]["column"] + 1)
    return {"nodes": list(nodes.values()), "edges": edges}


def short(path: str) -> str:
    """The telling end of a path or address."""
    if "://" in path:
        return path
    parts = Path(path).parts
    return "/".join(parts[-2:]) if parts else path


def budgets(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each trained run with an accuracy: the seconds of training behind it, its parents' included."""
    runs = {e.manifest.sha256: e for e in entries}

    def seconds(entry: Entry) -> float:
        data = entry.manifest.data
        own = (datetime.fromisoformat(data["finished"]) - datetime.fromisoformat(data["started"])).total_seconds()
        parents = [runs[sha] for sha in entry.manifest.parents() if sha in runs]
        return own * (data["kind"] in TRAINING) + sum(seconds(parent) for parent in parents)

    found = []
    for entry in entries:
        parents = [runs[sha] for sha in entry.manifest.parents() if sha in runs]
        if _is_evaluation(entry) and any("accuracy" in parent.metrics for parent in parents):
            continue  # its model is there already, with the accuracy that training ended with
        accuracy = entry.metrics.get("accuracy")
        method = _method(entry, runs)
        if accuracy is not None and method is not None:
            found.append({"name": entry.name, "method": method, "seconds": seconds(entry), "accuracy": accuracy})
    return found


TRAINING = ("sft", "prep_sft", "full_sft", "prep", "full", "grpo")


def _is_evaluation(entry: Entry) -> bool:
    return entry.manifest.kind not in TRAINING


def _method(entry: Entry, runs: dict[str, Entry]) -> str | None:
    """How the model of a run was trained last: its own kind, or its parent's."""
    if entry.manifest.kind in TRAINING:
        return entry.manifest.kind
    methods = [_method(runs[sha], runs) for sha in entry.manifest.parents() if sha in runs]
    return next((method for method in methods if method), None)
