"""Scores of the verified traces, for `--min-score`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools_shared.records import Problem
from tools_shared.runs import Draft, read_manifest
from tools_shared.runs.read import MANIFEST
from tools_traces.attempts.journal import Attempt, Key


def score_verified(
    run: Draft, spec: str | None, problems: Sequence[Problem], attempts: Mapping[Key, Attempt]
) -> dict[Key, float | None]:
    """The mean step probability of each verified attempt by question and sample; None where nothing can be judged.

    Empty without `--scorer`. Notes the scorer among the inputs; raises ToolError when it or its reader is missing.
    """
    if spec is None:
        return {}
    from tools_shared.scorers.text import TextResponse, open_text_scorer, scorer_weights

    _, sha256 = scorer_weights(spec)
    parent = read_manifest(spec).sha256 if (Path(spec) / MANIFEST).exists() else None
    run.add_input("scorer", spec, sha256, run_sha256=parent)
    questions = {problem.id: problem.question for problem in problems}
    verified = {key: attempt for key, attempt in attempts.items() if attempt.verified and key[0] in questions}
    scorer = open_text_scorer(spec)
    scored = scorer.score([TextResponse(questions[key[0]], attempt.response) for key, attempt in verified.items()])
    return {key: s.score.mean if s.score else None for key, s in zip(verified, scored, strict=True)}
