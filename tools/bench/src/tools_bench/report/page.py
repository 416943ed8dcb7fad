"""The page: data, style and script put into one file. Text from models enters as JSON and leaves as text nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from tools_bench.comparison.lineage_cost import cost_behind
from tools_bench.comparison.verdicts import MetricVerdict, judge
from tools_bench.config import ReportConfig
from tools_bench.grading.metrics import METRICS
from tools_bench.report.curves import MOST_COLUMNS, MOST_POINTS, charting
from tools_bench.report.entries import Entry, find_runs, read_entries
from tools_bench.report.graph import budgets, lineage
from tools_bench.report.history import read_curves
from tools_shared.costs.record import cost_words
from tools_shared.errors import ToolError
from tools_shared.files import atomic_write, html
from tools_shared.files.outputs import output_files
from tools_shared.runs.read import Manifest

HERE = Path(__file__).parent
MOST_VALUES = 400_000
"""Points of all curves on a page, about 6 MB; with many runs each curve has fewer."""
FEWEST_POINTS = 40
"""Of one curve, whatever the number of runs."""


def run_report(config: ReportConfig) -> Path:
    """Write the dashboard of the runs in `config.folders`; returns its path. Raises ToolError when there is none."""
    path = Path(config.output_file)
    with (
        output_files("tools-bench report", {"report": path}, flag="--output-file", overwrite=config.overwrite) as files,
        atomic_write(files["report"]) as file,
    ):
        entries = read_entries(find_runs(config.folders), config.max_examples)
        file.write(render(page_data(entries, config.baseline), config.title))
    return path


def page_data(entries: Sequence[Entry], baseline: str | None) -> dict[str, Any]:
    """All that the script draws."""
    scored = [e for e in entries if e.means]
    wanted = _baseline(scored, baseline)
    baselines = {e.name: base for e in scored if (base := _baseline_of(e, scored, wanted)) is not None}
    manifests = [e.manifest for e in entries]
    points = max(FEWEST_POINTS, min(MOST_POINTS, MOST_VALUES // (MOST_COLUMNS * max(1, len(entries)))))
    return {
        "made": datetime.now(UTC).isoformat(timespec="minutes"),
        "baseline": wanted.name if wanted else None,
        "metrics": {m.name: {"direction": m.direction, "what": m.what} for m in METRICS.values()},
        "runs": [_run(e, baselines.get(e.name)) | {"cost": _cost(e, manifests)} for e in entries],
        "curves": {e.name: found for e in entries if (found := read_curves(e.manifest.path, points)) is not None},
        "cost": str(cost_behind(manifests, manifests)),
        "differences": {e.name: _differences(baselines[e.name], e) for e in scored if e.name in baselines},
        "lineage": lineage(entries),
        "budgets": budgets(entries),
    }


def _cost(entry: Entry, known: Sequence[Manifest]) -> dict[str, str]:
    """A run's own cost, and that with all its ancestors, in words."""
    own = entry.manifest.data.get("cost")
    return {"own": cost_words(own) if own else "not recorded", "behind": str(cost_behind([entry.manifest], known))}


def _baseline(scored: Sequence[Entry], wanted: str | None) -> Entry | None:
    if wanted is None:
        return scored[0] if scored else None
    name = Path(wanted).name
    found = next((e for e in scored if name in (e.name, Path(e.name).name, e.model)), None)
    if found is None:
        raise ToolError(f"--baseline {wanted}: not among the evaluated runs ({', '.join(e.name for e in scored)})")
    return found


def _baseline_of(entry: Entry, scored: Sequence[Entry], wanted: Entry | None) -> Entry | None:
    """The baseline where it shares items with a run, else the run before it that shares most."""
    if wanted is None or entry is wanted:
        return None
    if _shared(wanted, entry) > 1:
        return wanted
    best = max(scored[: scored.index(entry)], key=lambda e: _shared(e, entry), default=None)
    return best if best is not None and _shared(best, entry) > 1 else None


def _shared(one: Entry, other: Entry) -> int:
    return len(one.means.keys() & other.means.keys())


def _run(entry: Entry, baseline: Entry | None) -> dict[str, Any]:
    data = entry.manifest.data
    return {
        "name": entry.name,
        "kind": data["kind"],
        "model": entry.model,
        "test": entry.test,
        "baseline": baseline.name if baseline else None,
        "path": str(entry.manifest.path),
        "finished": data["finished"],
        "tool": f"{data['tool']} {data['tool_version']}",
        "headline": entry.headline,
        "metrics": entry.metrics,
        "outcomes": entry.outcomes,
        "effort": entry.effort,
        "rows": entry.n_rows,
        "examples": entry.examples,
        "sha": entry.manifest.sha256,
    }


def _differences(baseline: Entry, entry: Entry) -> list[dict[str, Any]]:
    """Verdicts against the baseline, each metric on the items that both have (two at least)."""
    same = [key for key in baseline.means if key in entry.means]
    names = dict.fromkeys(name for key in same for name in baseline.means[key])
    pairs = {}
    for name in names:
        keys = [key for key in same if name in baseline.means[key] and name in entry.means[key]]
        if len(keys) > 1:
            pairs[name] = [baseline.means[k][name] for k in keys], [entry.means[k][name] for k in keys]
    return [_plain(verdict) for verdict in judge(pairs)]


def _plain(verdict: MetricVerdict) -> dict[str, Any]:
    return {f.name: getattr(verdict, f.name) for f in fields(verdict)}


def render(data: dict[str, Any], title: str) -> str:
    """One self-contained HTML file."""
    body, style, *scripts = (
        (HERE / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "lineage.js", "draw.js", "browse.js")
    )
    library, look = charting()
    script = '"use strict";\n' + library + "".join(scripts)
    return html.page(title, body.replace("@@TITLE@@", escape(title)), style + look, script, data)
