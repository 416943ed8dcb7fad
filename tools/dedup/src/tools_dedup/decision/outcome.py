"""What happens to each training row: read a second time, decided, with the evidence as the matches give it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_dedup.decision.analyse import CONTAINS, Analysis, TestRow, train_keys
from tools_dedup.input.contents import Content, content_of
from tools_dedup.lexical.evidence import FEATURES
from tools_dedup.lexical.words import shared_numbers, shared_spans, text_digest
from tools_shared.console import progress
from tools_shared.errors import ToolError
from tools_shared.records import Row

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class DedupOutcome:
    """A row, whether it stays, and its line in the matches."""

    row: Row
    removed: bool
    match: dict[str, Any]


def outcomes(analysis: Analysis) -> Iterator[DedupOutcome]:
    """Every usable row of the analysis in the source's order. Raises ToolError when the source has changed."""
    rows = analysis.train.held or _read_again(analysis)
    for i, (row, content) in enumerate(progress(rows, total=len(analysis.train), label="writing", unit="row")):
        removed_by = analysis.removed_by(i)
        yield DedupOutcome(row, removed_by is not None, match_record(analysis, i, row, content, removed_by))


def _read_again(analysis: Analysis) -> Iterator[tuple[Row, Content]]:
    train, keys = analysis.train, train_keys(analysis.config)
    found = enumerate(analysis.train_source.rows())
    changed = ToolError(f"{train.spec}: has changed while it was read; run again")
    for i, wanted in enumerate(train.positions):
        row = next((one for position, one in found if position == wanted), None)
        if not isinstance(row, Row):
            raise changed
        content = content_of(row.data, keys)
        if content.text != train.texts[train.text_ids[i]]:
            raise changed
        yield row, content


def match_record(analysis: Analysis, i: int, row: Row, content: Content, removed_by: str | None) -> dict[str, Any]:
    """A row's line in the matches: the fields that other programs know, then where it is and why it was removed."""
    decisions, text_id = analysis.decisions, analysis.train.text_ids[i]
    contained, number = analysis.contained_in(i), int(decisions.test[text_id])
    same = contained is None or contained.test == number
    number = contained.test if contained else number
    test = analysis.tests[analysis.first_test[number]] if number >= 0 else None
    record = _known_fields(analysis.row_offset + i, content, test, _number(decisions.cosine[text_id]) if same else None)
    record |= {
        "train_path": row.origin.path,
        "train_line": row.origin.line,
        "train_id": text_digest(content.text).hex(),
        "test_set": test and test.set_name,
        "test_path": test and test.origin.path,
        "test_line": test and test.origin.line,
        "removed_by": removed_by,
        "rule": (CONTAINS if contained else decisions.rule[text_id]) if test else None,
        "score": contained.share if contained else _number(decisions.score[text_id]) if test else None,
        "rank": int(decisions.rank[text_id]) if test and same else None,
        "features": _features(decisions.features[text_id]) if same else None,
        "kept_by_guard": bool(decisions.guarded[text_id]) and removed_by is None,
        "verdict": analysis.verdict(text_id),
        "repeats": _repeats(analysis, i),
    }
    if contained:
        record["contains"] = contained.to_json()
    if test and (removed_by or in_band(analysis.config.review_band, record["score"])):
        text = "\n".join(contained.spans) if contained else content.text
        record["shared_spans"] = shared_spans(text, test.content.text)
        record["shared_numbers"] = shared_numbers(text, test.content.text)
    return record


def in_band(review_band: tuple[float, float] | None, score: float | None) -> bool:
    """Whether a score is in the band of --review."""
    band = review_band
    return band is not None and score is not None and band[0] <= score <= band[1]


def _known_fields(index: int, content: Content, test: TestRow | None, cosine: float | None) -> dict[str, Any]:
    return {
        "train_idx": index,
        "train_goal": content.goal,
        "train_steps": content.steps,
        "train_topic": content.topic,
        "nearest_test_idx": test and test.index,
        "nearest_test_goal": test and test.content.goal,
        "nearest_test_steps": test and test.content.steps,
        "nearest_test_topic": test and test.content.topic,
        "cosine_similarity": cosine,
    }


def _repeats(analysis: Analysis, i: int) -> dict[str, Any] | None:
    found = analysis.repetitions.get(i)
    if found is None:
        return None
    origin = analysis.train.origin(found.kept)
    return {"train_path": origin.path, "train_line": origin.line, "score": found.score}


def _features(values: np.ndarray) -> dict[str, float] | None:
    figures = values.tolist()
    return None if math.isnan(figures[0]) else dict(zip(FEATURES, figures, strict=True))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
