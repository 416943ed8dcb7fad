"""`report.html`: the verdict, the tables and the figures in one file that fetches nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_scorer.evaluation.figures import draw
from tools_shared.files import atomic_write
from tools_shared.files.html import page as shell
from tools_shared.scorers.scorer import ScorerFacts
from tools_shared.stats import Interval

if TYPE_CHECKING:
    from tools_scorer.evaluation.replay import ReplayPoint
    from tools_scorer.evaluation.results import Results

CAPTIONS = {
    "auroc_by_fraction": "How early it knows: AUROC within a question after a share of the trace, 95 % intervals.",
    "auroc_by_tokens": "The same after this many tokens.",
    "trajectories": "Step probabilities along the trace: single traces thin, the mean of the running means thick.",
    "reliability": "Does 0.7 mean 70 %? The dots' area is the number of traces.",
    "roc": "Right against wrong traces, pooled over all questions.",
    "best_of_n": "Which answer is taken of k traces of a question.",
    "savings": "Replayed: accuracy of the vote over what is left against the tokens that were not drawn.",
}


def write_report(folder: Path, results: Results, said: Sequence[str], facts: ScorerFacts) -> None:
    """Draw `plots/CONFIG/` and write `report.html` into the folder."""
    figures = draw(results, folder / "plots" / facts.config_name)
    with atomic_write(folder / "report.html") as file:
        file.write(page(results, said, facts, figures.svg))


def page(results: Results, said: Sequence[str], facts: ScorerFacts, svg: dict[str, str]) -> str:
    """The whole file."""
    style = (files("tools_scorer.evaluation") / "report.css").read_text(encoding="utf-8")
    pictures = "".join(
        f"<figure><figcaption>{html.escape(CAPTIONS[name])}</figcaption>{svg[name]}</figure>" for name in CAPTIONS
    )
    body = "".join(
        [
            "<h1>Scorer report</h1>",
            f'<p class="soft">{html.escape(_subtitle(results, facts))}</p>',
            f'<div class="verdict">{"".join(f"<p>{html.escape(sentence)}</p>" for sentence in said)}</div>',
            "<h2>Against what needs no hidden states of the trace</h2>",
            _compared(results),
            "<h2>Probabilities</h2>",
            _probabilities(results),
            "<h2>Which answer is taken</h2>",
            _selected(results),
            "<h2>What it would have saved</h2>",
            _saved(results),
            f'<h2>Figures</h2><div class="grid">{pictures}</div>',
        ]
    )
    return shell("Scorer report", f"<main>{body}</main>", style)


def _subtitle(results: Results, facts: ScorerFacts) -> str:
    reading = f"{facts.config_name}, reading {facts.reader.get('model')}, layers {list(facts.layers)}"
    counts = f"{results.n_traces} traces of {results.n_questions} questions in the {results.split} split"
    return (
        f"{reading}; the {results.aggregate} of the steps; {counts}, {100 * results.share_right:.1f} % right, "
        f"{results.n_mixed} questions with both right and wrong ones"
    )


def _compared(results: Results) -> str:
    own = ["this scorer", _number(results.within), _n(results.within), _number(results.pooled), ""]
    rows = [
        [
            (c.name, c.what),
            _number(c.within) if c.within else "says nothing",
            _n(c.within),
            _number(c.pooled),
            _signed(c.difference),
        ]
        for c in results.compared
    ]
    head = ["", "AUROC within a question", "questions", "AUROC pooled", "scorer better by (within)"]
    return _table(head, [own, *rows], own=0)


def _probabilities(results: Results) -> str:
    c = results.calibration
    rows = [
        ["expected calibration error, traces", f"{c['ece_before']:.3f}", f"{c['ece_after']:.3f}"],
        ["expected calibration error, steps", f"{c['ece_steps_before']:.3f}", f"{c['ece_steps_after']:.3f}"],
        ["Brier score, traces", f"{c['brier_before']:.3f}", f"{c['brier_after']:.3f}"],
        ["average precision (pooled)", "", f"{results.average_precision:.3f}"],
    ]
    return _table(["", "before calibration", "after"], rows)


def _selected(results: Results) -> str:
    rows = [
        [
            str(s.k),
            *(_percent(s.rates[rule]) for rule in ("pass@k", "majority", "weighted vote", "best of k")),
            _signed(s.gain["weighted vote"], percent=True),
            str(s.rates["majority"].n),
        ]
        for s in results.selected
    ]
    head = ["k", "pass@k", "majority", "weighted vote", "best of k", "vote against majority", "questions"]
    return _table(head, rows)


def _saved(results: Results) -> str:
    def rows(name: str, points: Sequence[ReplayPoint]) -> list[list[str]]:
        settings = distinct([p.setting for p in points])
        return [
            [name, setting, f"{100 * p.saved:.1f} %", _percent(p.accuracy), _n(p.accuracy), str(p.n_dropped)]
            for setting, p in zip(settings, points, strict=True)
        ]

    head = ["rule", "threshold or budget", "tokens saved", "weighted vote right", "questions", "traces dropped"]
    body = [*rows("stop below", results.stopped[::2]), *rows("cache budget", results.dropped[::2])]
    return _table(head, [*body, *rows("cache budget, by lot", results.dropped_by_lot[::2])])


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], own: int | None = None) -> str:
    """Cells are text, or (text, explanation)."""

    def cell(value: Any) -> str:
        text, more = value if isinstance(value, tuple) else (value, None)
        return f"<td>{html.escape(text)}{f'<small>{html.escape(more)}</small>' if more else ''}</td>"

    titles = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = "".join(
        f"<tr{' class=own' if i == own else ''}>{''.join(map(cell, row))}</tr>" for i, row in enumerate(rows)
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>'


def distinct(values: Sequence[float]) -> list[str]:
    """Numbers as text, with the fewest digits (3 at least, 9 at most) that keep those apart which differ."""
    n_different = len({f"{value:.9g}" for value in values})
    written = ([f"{value:.{digits}g}" for value in values] for digits in range(3, 10))
    return next(texts for texts in written if len(set(texts)) == n_different)


def _n(interval: Interval | None) -> str:
    return "" if interval is None else str(interval.n)


def _number(interval: Interval | None) -> str:
    return "—" if interval is None else f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _signed(interval: Interval | None, percent: bool = False) -> str:
    if interval is None:
        return ""
    scale, digits = (100, 1) if percent else (1, 3)
    values = [scale * v for v in (interval.estimate, interval.low, interval.high)]
    return "{:+.{d}f} [{:+.{d}f}, {:+.{d}f}]".format(*values, d=digits)
