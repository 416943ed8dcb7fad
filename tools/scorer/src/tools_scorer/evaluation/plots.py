"""The figures of training and evaluation: PNG files for people, the same as SVG for the report.

Colours are middle tones that read on white and on black; what is black in a plot takes the page's own text colour.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#123456"
"""Stands for the page's text colour until the SVG is written."""
BLUE, ORANGE, GREEN, RED, GREY = "#3d85c6", "#d9822b", "#4a9e5c", "#cf4a41", "#8a929c"


class Figures:
    """Draws into a folder and keeps each figure's SVG by its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.svg: dict[str, str] = {}

    @contextmanager
    def axes(self, name: str, x: str, y: str, width: float = 4.6, height: float = 3.1) -> Iterator[Axes]:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt

        names = "text.color axes.labelcolor axes.edgecolor xtick.color ytick.color".split()
        style = dict.fromkeys(names, INK) | {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 9}
        with mpl.rc_context(style):
            figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
            axes.set_xlabel(x)
            axes.set_ylabel(y)
            axes.spines[["top", "right"]].set_visible(False)
            yield axes
            self._write(figure, name)
            plt.close(figure)

    def _write(self, figure: Any, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.folder / f"{name}.png", dpi=160, metadata={"Software": None}, facecolor="white")
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = content.getvalue()
        begin, end = text.index("<metadata>"), text.index("</metadata>") + len("</metadata>")
        text = text[:begin] + text[end:]
        # Two figures in one page must not share ids.
        text = text[text.index("<svg") :].replace(INK, "currentColor").replace('id="', f'id="{name}-')
        self.svg[name] = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')


def legend(axes: Axes, **options: Any) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, **options)


_VALIDATED = {
    "validation_auroc_within": ("AUROC within a question", BLUE),
    "validation_auroc": ("AUROC over all steps", ORANGE),
    "validation_accuracy": ("accuracy before calibration", GREEN),
}


def plot_training(history: Sequence[Mapping[str, Any]], folder: Path) -> Figures:
    """By epoch: training and validation loss, the best epoch marked; and the validation's metrics."""
    figures = Figures(folder)
    epochs = [entry["step"] for entry in history]
    with figures.axes("loss", "epoch", "loss") as axes:
        axes.plot(epochs, [entry["train_loss"] for entry in history], color=BLUE, label="training")
        validation = [entry["validation_loss"] for entry in history]
        axes.plot(epochs, validation, color=ORANGE, label="validation (calibration questions)")
        best = min(range(len(validation)), key=validation.__getitem__)
        axes.plot(epochs[best], validation[best], "o", color=ORANGE)
        legend(axes)
    with figures.axes("validation", "epoch", "steps of the calibration questions") as axes:
        axes.axhline(0.5, color=GREY, linestyle=":")
        axes.axvline(epochs[best], color=GREY, linewidth=0.8)
        for name, (label, colour) in _VALIDATED.items():
            points = [(entry["step"], entry[name]) for entry in history if name in entry]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, label=label)
        legend(axes)
    return figures
