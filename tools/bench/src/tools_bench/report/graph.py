"""The lineage of the runs: which data and which run each was made from, laid out in columns from left to right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools_bench.report.entries import Entry
from tools_shared.runs.lineage import cleaned_by


def lineage(entries: Sequence[Entry]) -> dict[str, Any]:
    """Nodes with their column (longest way from data) and edges by node id.

    A run is known by its manifest's hash, a file by its own, so the same file under two paths is one node; what has an
    address (`hf://`, `demo://`) by that, since its hash is that of the rows that were read. A file that a run here made
    is that run, and one that tools-dedup kept for that cleaning, with what it was compared with.
    """
    makers = _makers(entries)
    nodes: dict[str, dict[str, Any]] = {
        e.manifest.sha256: {"id": e.manifest.sha256, "label": e.name, "kind": e.manifest.kind, "run": True}
        for e in entries
    }
    edges: dict[tuple[str, str], dict[str, str]] = {}
    for entry in entries:
        _connect(entry.manifest.sha256, entry.manifest.data["inputs"], makers, nodes, edges)
    for node in nodes.values():
        node["column"] = 0
    for _ in nodes:  # as many rounds as the longest way can have
        for edge in edges.values():
            nodes[edge["to"]]["column"] = max(nodes[edge["to"]]["column"], nodes[edge["from"]]["column"] + 1)
    return {"nodes": list(nodes.values()), "edges": list(edges.values())}


def _connect(
    target: str,
    inputs: Sequence[Mapping[str, Any]],
    makers: Mapping[str, str],
    nodes: dict[str, dict[str, Any]],
    edges: dict[tuple[str, str], dict[str, str]],
) -> None:
    """Add the sources of one node, and where one is what tools-dedup kept, the sources of that."""
    for given in inputs:
        node, behind = _source(given, makers)
        if node["id"] not in nodes:
            nodes[node["id"]] = node
            _connect(node["id"], behind, makers, nodes, edges)
        if node["id"] != target:
            edges.setdefault((node["id"], target), {"from": node["id"], "to": target, "label": given["name"]})


def _source(given: Mapping[str, Any], makers: Mapping[str, str]) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """The node that an input comes from, and that node's own inputs where it is a cleaning."""
    run = given.get("run_sha256") or makers.get(given["sha256"])
    label = short(given["path"])
    if run is not None:
        return {"id": run, "label": label, "kind": "run, not in this report", "run": False}, []
    if (cleaning := cleaned_by(Path(given["path"]), given["sha256"])) is not None:
        return {"id": f"dedup:{given['sha256']}", "label": label, "kind": "dedup", "run": True}, cleaning["inputs"]
    data = given["path"] if "://" in given["path"] else given["sha256"]
    return {"id": f"data:{data}", "label": label, "kind": "data", "run": False}, []


def _makers(entries: Sequence[Entry]) -> dict[str, str]:
    """For each file that a run here made, the run."""
    return {
        file["sha256"]: e.manifest.sha256
        for e in entries
        for name, file in e.manifest.data["outputs"].items()
        if not name.startswith("debug/")
    }


def short(path: str) -> str:
    """The telling end of a path or address."""
    if "://" in path:
        return path
    parts = Path(path).parts
    return "/".join(parts[-2:]) if parts else path


def budgets(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each trained run with an accuracy: the seconds of training behind it, its parents' included."""
    runs = {e.manifest.sha256: e for e in entries}
    makers = _makers(entries)

    def parents(entry: Entry) -> list[Entry]:
        shas = [i.get("run_sha256") or makers.get(i["sha256"]) for i in entry.manifest.data["inputs"]]
        return [runs[sha] for sha in dict.fromkeys(shas) if sha in runs and runs[sha] is not entry]

    def behind(entry: Entry) -> dict[str, Entry]:
        """The run and its ancestors, each once."""
        above = {sha: e for parent in parents(entry) for sha, e in behind(parent).items()}
        return {entry.manifest.sha256: entry, **above}

    found = []
    for entry in entries:
        if _is_evaluation(entry) and any("accuracy" in parent.metrics for parent in parents(entry)):
            continue  # its model is there already, with the accuracy that training ended with
        accuracy = entry.metrics.get("accuracy")
        method = _method(entry, runs)
        if accuracy is not None and method is not None:
            seconds = sum(map(_training_seconds, behind(entry).values()))
            found.append({"name": entry.name, "method": method, "seconds": seconds, "accuracy": accuracy})
    return found


TRAINING = ("sft", "prep_sft", "full_sft", "prep", "full", "sft_from_traces", "grpo")


def _training_seconds(entry: Entry) -> float:
    data = entry.manifest.data
    if data["kind"] not in TRAINING:
        return 0.0
    return (datetime.fromisoformat(data["finished"]) - datetime.fromisoformat(data["started"])).total_seconds()


def _is_evaluation(entry: Entry) -> bool:
    return entry.manifest.kind not in TRAINING


def _method(entry: Entry, runs: dict[str, Entry]) -> str | None:
    """How the model of a run was trained last: its own kind, or its parent's."""
    if entry.manifest.kind in TRAINING:
        return entry.manifest.kind
    methods = [_method(runs[sha], runs) for sha in entry.manifest.parents() if sha in runs]
    return next((method for method in methods if method), None)
