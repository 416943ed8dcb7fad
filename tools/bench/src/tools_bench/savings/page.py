"""`report.html`: the verdicts, the curve and the table, in one file that fetches nothing."""

from __future__ import annotations

import html
import io
from typing import Any

from tools_bench.budgets.chart import COLOURS, MARKERS
from tools_bench.savings.curves import Curves
from tools_bench.savings.words import HEAD, table, verdicts
from tools_shared.files.html import page as shell

STYLE = """main { max-width: 72rem; margin: 0 auto; padding: 1.5rem; }
.soft { color: var(--soft); }
.verdict { background: var(--card); border-left: 4px solid var(--accent); padding: .4rem 1rem; }
figure { margin: 1rem 0; background: #ffffff; border: 1px solid var(--line); }
figure svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
"""


def page(curves: Curves, title: str) -> str:
    """The whole file."""
    told = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in verdicts(curves))
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in HEAD)
    rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table(curves))
    counts = (
        f"{curves.n_questions} questions, {curves.n_samples} samples of each, {curves.n_tokens} tokens; majority vote, "
        "95 % intervals over questions, differences in points and paired by question"
    )
    return shell(
        title,
        f'<main><h1>{html.escape(title)}</h1><p class="soft">{counts}</p><div class="verdict">{told}</div>'
        f'<figure>{svg(curves)}</figure><div class="wide"><table><tr>{head}</tr>{rows}</table></div></main>',
        STYLE,
    )


def svg(curves: Curves) -> str:
    """Accuracy against the share of tokens: a line a rule with its intervals, the majority over fewer as a band."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8.4, 4.4), layout="constrained")
    _fewer(axes, curves)
    for i, (name, points) in enumerate(curves.rules.items()):
        ordered = sorted(points, key=lambda point: point.share)
        rates = [point.accuracy for point in ordered]
        errors = [[100 * (r.estimate - r.low) for r in rates], [100 * (r.high - r.estimate) for r in rates]]
        style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4, "linewidth": 1.5, "elinewidth": 0.7}
        places = [100 * point.share for point in ordered]
        axes.errorbar(places, [100 * r.estimate for r in rates], yerr=errors, label=name, capsize=2, **style)
    axes.set_xlabel("tokens sampled (% of all)")
    axes.set_ylabel("accuracy of the majority (%)")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "savings"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return file.getvalue()[file.getvalue().index("<svg") :]


def _fewer(axes: Any, curves: Curves) -> None:
    places = [100 * m / curves.n_samples for m in range(1, curves.n_samples + 1)]
    axes.plot(places, [100 * r.estimate for r in curves.fewer], color="#555555", label="majority over fewer samples")
    low, high = [100 * r.low for r in curves.fewer], [100 * r.high for r in curves.fewer]
    axes.fill_between(places, low, high, color="#999999", alpha=0.2, linewidth=0)
