"""The per-example CSV of an evaluation, written and read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools_shared.errors import ToolError
from tools_shared.evaluation.graded import Graded
from tools_shared.files import atomic_write, csv_cells

COLUMNS = (
    "question",
    "labeled_cot",
    "labeled_answer",
    "generated_text",
    "extracted_thinking",
    "extracted_answer",
    "correct",
    "id",
    "verdict",
    "method",
    "lenient_answer",
    "lenient_correct",
    "well_formed",
    "finish_reason",
    "n_tokens",
)
"""The columns of the per-example CSV; the first seven are those that users' notebooks read."""

READ = {"id", "question", "labeled_answer", "correct", "lenient_correct"}
"""The columns that a file must have to be read back."""


def write_csv(path: Path, graded: Sequence[Graded]) -> None:
    with atomic_write(path) as file:
        csv_cells.Writer(file).rows(COLUMNS, (g.row() for g in graded))


def read_csv(path: Path) -> list[dict[str, str]]:
    """The per-example rows of an evaluation, with `True` and `False` however a spreadsheet spelt them; raises ToolError
    when the file is not one, or a judgement neither."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv_cells.read_dicts(file))
    except FileNotFoundError:
        raise ToolError(f"{path}: no such file") from None
    if not rows or not set(rows[0]) >= READ:
        raise ToolError(f"{path}: not the per-example CSV of an evaluation (columns {', '.join(COLUMNS[:8])}, ...)")
    for number, row in enumerate(rows, start=1):
        for name in ("correct", "lenient_correct"):
            row[name] = (row[name] or "").strip().capitalize()
            if row[name] not in ("True", "False"):
                raise ToolError(f"{path}: row {number}: {name} is '{row[name]}', not True or False; evaluate again")
    return rows
