"""The distribution of scores as a PNG, with the threshold in it.

Drawn with Pillow: loading a plotting library would take longer than all the rest of `rethreshold`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tools_shared.files import atomic_write

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

N_BINS = 100
_WIDTH, _HEIGHT = 1200, 600
_LEFT, _RIGHT, _TOP, _BOTTOM = 90, 1170, 70, 510
_INK, _SOFT, _BAR, _CUT = "#1b1f24", "#7a7a7a", "#1f5a96", "#c0392b"


def draw(scores: Sequence[float], threshold: float | None, label: str, path: Path) -> None:
    """A histogram of the rows' scores with counts on a logarithmic axis; the same scores give the same bytes."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    pen = ImageDraw.Draw(image)
    pen.font = ImageFont.load_default(20)
    low = min([0.0, *scores])
    top = _draw_bars(pen, scores, low)
    _draw_axes(pen, low, top, label)
    if scores:
        _draw_line(pen, low, median(scores), f"median {median(scores):.3f}", _SOFT, 10)
    if threshold is not None and low <= threshold <= 1:
        n_over = sum(score >= threshold for score in scores)
        _draw_line(pen, low, threshold, f"threshold {threshold:.3g}: {n_over} of {len(scores)} rows", _CUT, 38)
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG", compress_level=1)


def _x(value: float, low: float) -> float:
    return _LEFT + (value - low) / (1 - low) * (_RIGHT - _LEFT)


def _y(count: float, top: float) -> float:
    return _BOTTOM - math.log10(1 + count) / top * (_BOTTOM - _TOP)


def _draw_bars(pen: ImageDraw, scores: Sequence[float], low: float) -> float:
    """Draw the histogram; returns log10(1 + count) at the top of the axis."""
    counts = [0] * N_BINS
    for score in scores:
        counts[min(N_BINS - 1, int((score - low) / (1 - low) * N_BINS))] += 1
    top = max(1.0, math.log10(1 + max(counts)))
    width = (_RIGHT - _LEFT) / N_BINS
    for i, count in enumerate(counts):
        if count:
            left = _LEFT + i * width
            pen.rectangle((left + 1, _y(count, top), left + width - 1, _BOTTOM), fill=_BAR)
    return top


def _draw_axes(pen: ImageDraw, low: float, top: float, label: str) -> None:
    pen.line((_LEFT, _BOTTOM, _RIGHT, _BOTTOM), fill=_INK, width=2)
    for i in range(6):
        value = low + (1 - low) * i / 5
        pen.text((_x(value, low), _BOTTOM + 10), f"{value:.2g}", fill=_INK, anchor="ma")
    for power in range(int(top) + 1):
        height = _y(10**power, top)
        pen.line((_LEFT - 6, height, _LEFT, height), fill=_INK, width=2)
        pen.text((_LEFT - 12, height), f"{10**power}", fill=_INK, anchor="rm")
    pen.text(
        ((_LEFT + _RIGHT) / 2, _HEIGHT - 45),
        f"training rows by {label} of the nearest test row",
        fill=_INK,
        anchor="ma",
    )


def _draw_line(pen: ImageDraw, low: float, value: float, text: str, colour: str, height: int) -> None:
    """A vertical line at a score with its label at `height`, on the side where there is room."""
    at = _x(value, low)
    pen.line((at, height + 4, at, _BOTTOM), fill=colour, width=3)
    left = at > (_LEFT + _RIGHT) / 2
    pen.text((at - 10 if left else at + 10, height), text, fill=colour, anchor="ra" if left else "la")
