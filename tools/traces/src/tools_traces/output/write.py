"""The files of a finished run, from its journal: the same bytes after any interruption or sharding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.console import say
from tools_shared.files import atomic_write, csv_cells, write_json, write_jsonl
from tools_shared.records import Problem
from tools_shared.runs import Draft
from tools_traces.attempts.journal import Attempt
from tools_traces.config import TracesConfig
from tools_traces.output.rows import Outcome, Provenance, Written, graded_row, outcomes, rows
from tools_traces.output.scores import score_verified
from tools_traces.output.summary import first_success, statistics


def write_outputs(
    run: Draft,
    config: TracesConfig,
    problems: Sequence[Problem],
    attempts: Mapping[tuple[str, int], Attempt],
    origin: Provenance,
    timing: Mapping[str, Any],
) -> dict[str, Any]:
    """Write rows, graded attempts where asked for, and the figures; returns the figures."""
    scores = score_verified(run, config.scorer, problems, attempts)
    low = {key for key, score in scores.items() if score is None or score < config.min_score}
    found = outcomes(problems, attempts, config, config.max_attempts, low)
    counts = Written()
    write_jsonl(run.path / config.output_file, rows(found, config, origin, counts))
    if config.emit == "graded":
        graded = (graded_row(outcome, attempt, config, origin) for outcome in found for attempt in outcome.attempts)
        name = config.output_file.removesuffix(".jsonl")
        write_jsonl(run.path / f"{name}.graded.jsonl", graded)
    figures = statistics(found, counts, config.goal, config.max_attempts)
    if config.scorer is not None:
        figures |= {"traces_scored": len(scores), "traces_below_min_score": len(low)}
    write_json(run.path / f"{config.output_file}.stats.json", figures | {"timing": dict(timing)})
    _write_debug(run, found, figures)
    say(describe(figures))
    if not figures["attempts_verified"]:
        missing = figures["verdicts"].get("no_answer", 0)
        say(
            f"no attempt was verified: {missing} of {figures['attempts']} have no answer in the tags of the profile "
            f"'{origin.profile.name}', {figures['attempts_truncated']} were cut at --max-new-tokens"
        )
    return figures | dict(timing)


def _write_debug(run: Draft, found: Sequence[Outcome], figures: Mapping[str, Any]) -> None:
    with atomic_write(run.debug_path(".csv")) as file:
        writer = csv_cells.Writer(file)
        writer.row(["id", "question", "ground_truth", "n_attempts", "n_correct", "first_success"])
        for outcome in found:
            problem, first = outcome.problem, first_success(outcome) if outcome.n_verified else None
            row = [problem.id, problem.question, problem.answer, len(outcome.attempts), outcome.n_verified, first]
            writer.row(row)
    with atomic_write(run.debug_path("_metrics.txt")) as file:
        file.write("".join(f"{name}: {value}\n" for name, value in figures.items()))


def describe(figures: Mapping[str, Any]) -> str:
    """The figures that a person wants, as lines of text."""
    low, high = figures["success_rate_95"]
    mean = figures["avg_attempts_for_successes"]
    return "\n".join(
        (
            f"{figures['grpo_successes']} of {figures['total_samples']} questions have a verified trace: "
            f"{100 * figures['success_rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]",
            f"{figures['rows']} rows, {figures['fallback_count']} of them the data's own solutions; "
            f"{figures['without_row']} questions without a row",
            f"{figures['attempts']} attempts, {figures['tokens_generated']} tokens"
            + (f"; {mean:.2f} attempts for a success" if mean else "")
            + (
                f"; {n} attempts pruned, {figures['tokens_pruned']} tokens" if (n := figures["attempts_pruned"]) else ""
            ),
        )
    )
