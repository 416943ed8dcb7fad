"""Baselines that need the text of the traces: its words alone, and whole models that read it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tools_scorer.evaluation.baselines import Baseline, logistic
from tools_scorer.evaluation.judged import JudgedTrace
from tools_scorer.states.folder import Hidden
from tools_scorer.traces.files import Trace, open_traces
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.scorers.models import open_model_scorer
from tools_shared.scorers.responses import TextResponse

if TYPE_CHECKING:
    import numpy as np
    import torch

MOST_FEATURES, MOST_TRACES = 2000, 20_000
_LEAST = 5
"""In how many training traces a token or pair has to be."""


def text_baselines(
    hidden: Hidden, path: str, models: Sequence[str], traces: Sequence[JudgedTrace], aggregate: str
) -> Iterator[Baseline]:
    """The words alone where the training split has both classes, then each model of `--scorer-model`.

    Raises ToolError when `path` is not the file that the states were extracted from.
    """
    rows = _rows(hidden, path)
    words = _words(list(rows.values()), traces)
    if words is not None:
        what = "logistic regression on the reasoning's tokens and pairs of tokens, trained on the training questions"
        yield Baseline("text alone", what, words)
    for spec in models:
        yield _of_model(spec, rows, traces, aggregate)


def _rows(hidden: Hidden, path: str) -> dict[str, Trace]:
    file = open_traces(path)
    if sha256_file(file.path) != hidden.manifest.input_sha256:
        raise ToolError(
            f"--traces {path}: {hidden.path} was extracted from another file; name the one that `tools-scorer "
            "preprocess` wrote for it"
        )
    return {trace.info.trace_id: trace for trace in file.read(0, len(file))}


def _words(rows: Sequence[Trace], traces: Sequence[JudgedTrace]) -> np.ndarray | None:
    """The probability that a trace is right from which tokens and pairs it has."""
    import torch

    train = [row for row in rows if row.info.split == "train" and row.info.is_correct is not None][:MOST_TRACES]
    labels = torch.tensor([float(row.info.is_correct) for row in train])
    if len(train) < 2 or labels.mean() in (0, 1):
        return None
    seen = Counter(gram for row in train for gram in _grams(row))
    kept = {gram: i for i, (gram, n) in enumerate(seen.most_common(MOST_FEATURES)) if n >= _LEAST}
    x = _matrix(train, kept)
    mean, std = x.mean(0), x.std(0).clamp_min(1e-3)
    weights = logistic((x - mean) / std, labels)
    wanted = {trace.info.trace_id for trace in traces}
    asked = [row for row in rows if row.info.trace_id in wanted]
    scores = ((_matrix(asked, kept) - mean) / std @ weights[:-1] + weights[-1]).double().numpy()
    by_id = dict(zip((row.info.trace_id for row in asked), scores, strict=True))
    return _in_order(by_id, traces)


def _grams(row: Trace) -> set[tuple[int, ...]]:
    own = list(row.token_ids[row.info.prompt_len : row.positions[-1] + 1])
    return {(token,) for token in own} | set(itertools.pairwise(own))


def _matrix(rows: Sequence[Trace], kept: dict[tuple[int, ...], int]) -> torch.Tensor:
    """[rows, kept]: 1 where the row has it."""
    import torch

    x = torch.zeros(len(rows), len(kept))
    for i, row in enumerate(rows):
        x[i, [kept[gram] for gram in _grams(row) if gram in kept]] = 1
    return x


def _of_model(spec: str, rows: dict[str, Trace], traces: Sequence[JudgedTrace], aggregate: str) -> Baseline:
    scorer = open_model_scorer(spec)
    texts = [rows[trace.info.trace_id].row for trace in traces]
    found = scorer.score([TextResponse(row["question"], row["full_text"]) for row in texts])
    scores = {}
    for trace, scored in zip(traces, found, strict=True):
        if scored.score is None:
            raise ToolError(
                f"--scorer-model {spec}: cannot read trace {trace.info.trace_id} ({scored.reason}); leave it out of "
                "the attempts, or compare without this model"
            )
        scores[trace.info.trace_id] = getattr(scored.score, aggregate)
    return Baseline(f"{scorer.label} {spec}", f"the {aggregate} of its numbers for the text", _in_order(scores, traces))


def _in_order(scores: dict[str, float], traces: Sequence[JudgedTrace]) -> np.ndarray:
    import numpy as np

    return np.array([scores[trace.info.trace_id] for trace in traces])
