"""The lineage of the runs: which data and which run each was made from, every node after its sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools_bench.report.entries import Entry
from tools_shared.runs.lineage import DATA, MODELS, cleaned_by

_HUB = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/")
"""A model of the hub where its client keeps it, under a folder named by a hash."""


class Ancestry:
    """What each run here was made from.

    A run is known by its manifest's hash, a file by its own, so the same file under two paths is one node; what has an
    address (`hf://`, `demo://`) by that, since its hash is that of the rows that were read. A file that an earlier run
    here made is that run, and one that tools-dedup kept for that cleaning, with what it was compared with.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.runs = {e.manifest.sha256: e for e in entries}
        self._place = {sha: i for i, sha in enumerate(self.runs)}
        self._makers: dict[str, str] = {}
        for entry in entries:
            for name, file in entry.manifest.data["outputs"].items():
                if not name.startswith("debug/"):
                    self._makers.setdefault(file["sha256"], entry.manifest.sha256)

    def run_of(self, given: Mapping[str, Any], reader: str) -> str | None:
        """The run that an input of the run `reader` is, or that made it."""
        maker = self._makers.get(given["sha256"])
        earlier = maker is not None and self._place[maker] < self._place.get(reader, len(self._place))
        return given.get("run_sha256") or (maker if earlier else None)

    def parents(self, entry: Entry) -> list[Entry]:
        """The runs here that a run was made from."""
        own = entry.manifest.sha256
        shas = (self.run_of(given, own) for given in entry.manifest.data["inputs"])
        return [self.runs[sha] for sha in dict.fromkeys(shas) if sha in self.runs and sha != own]

    def behind(self, entry: Entry) -> list[Entry]:
        """A run and its ancestors here, each once."""
        found: dict[str, Entry] = {}
        waiting = [entry]
        while waiting:
            one = waiting.pop()
            if one.manifest.sha256 not in found:
                found[one.manifest.sha256] = one
                waiting += self.parents(one)
        return list(found.values())


def lineage(entries: Sequence[Entry]) -> dict[str, Any]:
    """Nodes (`id`, `label`, `full`, `kind`, `run`), each after its sources and with a name of its own, and edges."""
    ancestry = Ancestry(entries)
    nodes: dict[str, dict[str, Any]] = {}
    edges: dict[tuple[str, str], dict[str, str]] = {}
    waiting = [(e.manifest.sha256, _run_node(e), e.manifest.data["inputs"]) for e in reversed(entries)]
    begun: set[str] = set()
    while waiting:
        key, node, inputs = waiting.pop()
        if key in nodes:
            continue
        if key in begun:
            nodes[key] = node  # all that it was made from is there
            continue
        begun.add(key)
        waiting.append((key, node, inputs))
        for given in reversed(inputs):
            source, behind = _source(given, key, ancestry)
            if source["id"] != key:
                edges.setdefault((source["id"], key), {"from": source["id"], "to": key, "label": given["name"]})
            if source["id"] not in begun:
                waiting.append((source["id"], source, behind))
    _name_apart([node for key, node in nodes.items() if key not in ancestry.runs], {e.name for e in entries})
    return {"nodes": list(nodes.values()), "edges": list(edges.values())}


def _run_node(entry: Entry) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "id": manifest.sha256,
        "label": entry.name,
        "full": str(manifest.path),
        "kind": manifest.kind,
        "run": True,
    }


def _source(
    given: Mapping[str, Any], reader: str, ancestry: Ancestry
) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """The node that an input comes from, and that node's own inputs where they are known."""
    path, sha256 = str(given["path"]), given["sha256"]
    run = ancestry.run_of(given, reader)
    if run in ancestry.runs:
        return _run_node(ancestry.runs[run]), ancestry.runs[run].manifest.data["inputs"]
    node = {"label": short(path), "full": path, "run": False}
    if run is not None:
        return node | {"id": run, "kind": "run, not in this report"}, []
    if (cleaning := cleaned_by(Path(path), sha256)) is not None:
        return node | {"id": f"dedup:{sha256}", "kind": "dedup", "run": True}, cleaning["inputs"]
    return node | {"id": f"data:{path if '://' in path else sha256}", "kind": _role(given["name"])}, []


def _role(name: str) -> str:
    """What an input is to the run that reads it; a second one of a kind is numbered, as in `train 2`."""
    word = name.partition(" ")[0]
    if word in MODELS:
        return "model"
    return "training data" if word in DATA else "test set" if word == "eval" else word.replace("_", " ")


def short(path: str) -> str:
    """The telling end of a path or address; of a model from the hub its name there."""
    if "://" in path:
        return path
    if (hub := _HUB.search(f"{path}/")) is not None:
        return f"{hub['owner']}/{hub['name']}"
    parts = Path(path).parts
    return "/".join(parts[-2:]) if parts else path


def _name_apart(nodes: Sequence[dict[str, Any]], taken: set[str]) -> None:
    """Give nodes of one name more of their paths, and those of one path a number: a file that was changed between.
    `taken` are the names of the runs here, which keep them."""
    for node in _alike(nodes, taken):
        node["label"] = node["full"]
    numbers: dict[str, int] = {}
    for node in _alike(nodes, taken):
        numbers[node["full"]] = numbers.get(node["full"], 0) + 1
        node["label"] += f" (version {numbers[node['full']]})"


def _alike(nodes: Sequence[dict[str, Any]], taken: set[str]) -> list[dict[str, Any]]:
    """The nodes whose label is not theirs alone."""
    labels = [node["label"] for node in nodes]
    counts = Counter(labels)
    return [node for node, label in zip(nodes, labels, strict=True) if counts[label] > 1 or label in taken]


def budgets(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each trained run with an accuracy: the seconds of training behind it, its parents' included."""
    ancestry = Ancestry(entries)
    found = []
    for entry in entries:
        if _is_evaluation(entry) and any("accuracy" in parent.metrics for parent in ancestry.parents(entry)):
            continue  # its model is there already, with the accuracy that training ended with
        accuracy = entry.metrics.get("accuracy")
        method = _method(entry, ancestry.runs)
        if accuracy is not None and method is not None:
            seconds = sum(map(_training_seconds, ancestry.behind(entry)))
            found.append({"name": entry.name, "method": method, "seconds": seconds, "accuracy": accuracy})
    return found


TRAINING = ("sft", "prep_sft", "full_sft", "prep", "full", "sft_from_traces", "grpo")


def _training_seconds(entry: Entry) -> float:
    """The time that a training run took: of all its sessions, or where that was not recorded, from start to end."""
    data = entry.manifest.data
    if data["kind"] not in TRAINING:
        return 0.0
    if (cost := data.get("cost")) is not None:
        return float(cost["seconds"])
    return (datetime.fromisoformat(data["finished"]) - datetime.fromisoformat(data["started"])).total_seconds()


def _is_evaluation(entry: Entry) -> bool:
    return entry.manifest.kind not in TRAINING


def _method(entry: Entry, runs: dict[str, Entry]) -> str | None:
    """How the model of a run was trained last: its own kind, or its parent's."""
    if entry.manifest.kind in TRAINING:
        return entry.manifest.kind
    methods = [_method(runs[sha], runs) for sha in entry.manifest.parents() if sha in runs]
    return next((method for method in methods if method), None)
