"""How long the dashboard takes in Chromium to show, search, filter and sort many rows.

    python tests/benchmarks/report_page.py [--rows 10000] [--runs 1000]

Two pages are made: one with two runs of that many examples, and one with that many runs. Each action is done five times
by its control; the time is the page's own clock from the event to the frame after it, and the median is printed. Of
opening a page the processor time of its main thread is printed too, which other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "shared/tests/support"))

from browser import Browser, browser
from dashboard import made_runs

from tools_bench.report.page import page_data, render

AGAIN = 5


def timed(tab: Browser, action: str, frames: bool = True) -> float:
    """Median milliseconds of a script on the page, to the frame that shows what it did."""
    shown = "await new Promise((r) => requestAnimationFrame(() => setTimeout(r)));" if frames else ""
    script = f"(async () => {{ const from = performance.now(); {action}; {shown} return performance.now() - from; }})()"
    return statistics.median(tab.run(script) for _ in range(AGAIN))


def opened(tab: Browser, path: Path, what: str) -> None:
    """Say how long a page takes from the start of loading until its scripts have run and it is laid out."""
    tab.ask("Performance.enable", timeDomain="threadTicks")
    spans, busy = [], []
    for _ in range(AGAIN):
        tab.open("about:blank")
        before = task_seconds(tab)
        tab.open(path.as_uri())
        tab.run("new Promise((r) => requestAnimationFrame(() => setTimeout(r)))")
        spans.append(tab.run("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        after = task_seconds(tab)
        busy.append(1000 * (after - before if after > before else after))  # another process begins at 0
    mega, least = path.stat().st_size / 1e6, min(spans)
    print(f"{what}: {mega:.1f} MB, opens in {statistics.median(spans):.0f} ms (at best {least:.0f}), ", end="")
    print(f"of them {statistics.median(busy):.0f} ms of processor time", flush=True)


def task_seconds(tab: Browser) -> float:
    """Processor time that the page's main thread has worked."""
    return next(m["value"] for m in tab.ask("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")


def put(control: str, value: str) -> str:
    return f"{{ const e = document.getElementById('{control}'); e.value = '{value}'; e.oninput(); }}"


def measure(rows: int, runs: int) -> None:
    folder = Path(tempfile.mkdtemp())
    pages = {"many.html": made_runs(2, rows), "runs.html": made_runs(runs, 3)}
    for name, entries in pages.items():
        (folder / name).write_text(render(page_data(entries, None), name))
    with browser() as tab:
        opened(tab, folder / "many.html", f"two runs of {rows} examples")
        for what, action in {
            "search": put("search", "teacher who counts"),
            "search for nothing": put("search", ""),
            "flips against the baseline": put("filter", "flips"),
            "all": put("filter", "all"),
            "the next page": "document.getElementById('next').click()",
        }.items():
            print(f"  {what}: {timed(tab, action):.0f} ms", flush=True)
        opened(tab, folder / "runs.html", f"{runs} runs")
        sort = "document.querySelector('#leaderboard thead button').click()"
        print(f"  sort: {timed(tab, sort):.0f} ms", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1_000)
    given = parser.parse_args()
    measure(given.rows, given.runs)
