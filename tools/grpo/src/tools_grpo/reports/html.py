"""An inspection as one HTML file that needs nothing else and runs nothing: what models write is shown, never obeyed."""

from __future__ import annotations

from html import escape

from tools_grpo.inspect import Inspection, Shown, Step, mean, spans
from tools_grpo.reports.text import TITLES, facts, printable
from tools_shared.files.html import page

WIDTH, HEIGHT, MARGIN = 480, 170, 56
CHARTS = {
    "reward": "Reward",
    "length": "Length, tokens",
    "flat": "Share of zero-variance groups",
    "truncated": "Share truncated",
}
STYLE = """
body { margin: 2rem auto; padding: 0 1rem; max-width: 70rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1.5rem; }
figure { margin: 0; } figcaption, .facts { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 13px; }
.axis { stroke: var(--line); } .curve { fill: none; stroke: var(--accent); stroke-width: 2; }
.dot { fill: var(--accent); }
article { border: 1px solid var(--line); border-radius: 6px; padding: .75rem 1rem; margin: 1rem 0; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); padding: .6rem .8rem; border-radius: 4px;
  font: 13px/1.45 ui-monospace, monospace; margin: .5rem 0 0; }
"""


def as_html(found: Inspection) -> str:
    title = f"Rollouts of {found.path}"
    charts = "".join(_chart(found.steps, name, label) for name, label in CHARTS.items())
    lists = "".join(
        f"<section><h2>{escape(label)}</h2>{''.join(map(_article, getattr(found, name)))}</section>"
        for name, label in TITLES.items()
    )
    head = f"<h1>{escape(title)}</h1><p>{len(found.steps)} steps, {found.n_rollouts} rollouts</p>"
    return page(title, f'{head}<div class="charts">{charts}</div>{lists}', STYLE)


def _article(shown: Shown) -> str:
    prompt, completion = (escape(printable(shown.row[name]).strip()) for name in ("prompt", "completion"))
    return (
        f'<article><div class="facts">{escape(facts(shown))}</div>'
        f"<details><summary>Prompt</summary><pre>{prompt}</pre></details><pre>{completion}</pre></article>"
    )


def _chart(steps: list[Step], name: str, label: str) -> str:
    """A curve over the steps, at most 200 points, each the mean of its span."""
    parts = spans(steps, 200)
    points = [(_middle(part), mean(part, name)) for part in parts]
    low, high = min(y for _, y in points), max(y for _, y in points)
    if low == high:
        high = low + 1
    first, last = points[0][0], points[-1][0]
    places = [(_scale(x, first, last, MARGIN, WIDTH - 8), _scale(y, low, high, HEIGHT - 24, 8)) for x, y in points]
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    bottom, left = HEIGHT - 24, MARGIN
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)} over the steps">'
        f'<path class="axis" fill="none" d="M{left} 8V{bottom}H{WIDTH - 8}"/>'
        f'<text x="{left - 6}" y="14" text-anchor="end">{high:.3g}</text>'
        f'<text x="{left - 6}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{left}" y="{HEIGHT - 6}">step {first + 1:g}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{last + 1:g}</text>'
        f'<polyline class="curve" points="{curve}"/>'
        f'<circle class="dot" cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="3"/></svg>'
        f"<figcaption>{escape(label)}</figcaption></figure>"
    )


def _middle(part: list[Step]) -> float:
    return (part[0].step + part[-1].step) / 2


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start if low == high else start + (value - low) / (high - low) * (end - start)
