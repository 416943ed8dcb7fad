"""From graded attempts to the rows that the next tools read: a pure function of problems and attempts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_traces.attempts.journal import Attempt
from tools_traces.attempts.schedule import n_wanted
from tools_traces.config import OutputConfig

_EQUATION = re.compile(r"[0-9][-0-9.,+*/×÷%$() ]{0,200}=[ $]{0,3}[0-9][0-9.,]*")


@dataclass(frozen=True)
class Provenance:
    """What every row of a run says of where it came from."""

    seed: int
    model_hash: str
    profile: Profile


@dataclass(frozen=True)
class Outcome:
    """One question with its attempts, in their order, and those chosen as rows."""

    problem: Problem
    attempts: list[Attempt]
    chosen: list[Attempt]

    @property
    def n_verified(self) -> int:
        return sum(attempt.verified for attempt in self.attempts)

    @property
    def pass_rate(self) -> float:
        return self.n_verified / len(self.attempts)


def outcomes(
    problems: Sequence[Problem],
    attempts: Mapping[tuple[str, int], Attempt],
    config: OutputConfig,
    max_attempts: int,
    left_out: Collection[tuple[str, int]] = (),
) -> list[Outcome]:
    """Each question's outcome, in the order of the questions. Attempts beyond what it needed are left out.

    `left_out` are the attempts that no row is made of, by question and sample.
    """
    samples: dict[str, dict[int, Attempt]] = {problem.id: {} for problem in problems}
    for (problem_id, sample), attempt in attempts.items():
        if problem_id in samples:
            samples[problem_id][sample] = attempt
    found = []
    for problem in problems:
        mine = samples[problem.id]
        wanted = n_wanted({k: a.verified for k, a in mine.items()}, config.goal, max_attempts)
        drawn = [mine[k] for k in range(wanted)]
        fit = [attempt for attempt in drawn if (attempt.id, attempt.sample) not in left_out]
        found.append(Outcome(problem, drawn, choose(fit, config.keep, config.keep_count)))
    return found


def choose(attempts: Sequence[Attempt], keep: str, keep_count: int | None) -> list[Attempt]:
    """The attempts that `--keep` keeps: verified ones only."""
    verified = [attempt for attempt in attempts if attempt.verified]
    if keep == "shortest":
        return sorted(verified, key=lambda a: (a.n_tokens or len(a.response), a.sample))[:1]
    if keep == "diverse":
        # One reasoning path for each list of equations, as in RFT (Yuan et al. 2023, arXiv 2308.01825, section 3.3).
        return list({equations(a.reasoning or ""): a for a in reversed(verified)}.values())[::-1]
    return verified[:keep_count]


def equations(reasoning: str) -> tuple[str, ...]:
    """The equations in a text without blanks, in order; where there is none, its words."""
    found = _EQUATION.findall(reasoning)
    return tuple(e.replace(" ", "").rstrip(".,") for e in found) or (normal(reasoning),)


def normal(text: str) -> str:
    """A text as it is compared: case and blanks do not count."""
    return " ".join(text.casefold().split())


@dataclass
class Written:
    """Counts of what `rows` gave."""

    successes: int = 0
    rows: int = 0
    fallbacks: int = 0
    skipped: int = 0
    duplicates: int = 0
    outside_pass_rate: int = 0
    without_row: int = 0


def rows(found: Sequence[Outcome], config: OutputConfig, origin: Provenance, counts: Written) -> Iterator[dict]:
    """The rows in question order, counted in `counts` as they are given out."""
    seen: set[tuple[str, str]] = set()
    for outcome in found:
        mine = list(_rows_of(outcome, config, origin, seen, counts))
        counts.rows += len(mine)
        counts.without_row += not mine
        yield from mine


def _rows_of(outcome: Outcome, config: OutputConfig, origin: Provenance, seen: set, counts: Written) -> Iterator[dict]:
    if not config.min_pass_rate <= outcome.pass_rate <= config.max_pass_rate:
        counts.outside_pass_rate += 1
        return
    counts.successes += bool(outcome.chosen)
    for attempt in outcome.chosen:
        if not _repeats(outcome.problem, attempt.reasoning or "", seen, counts, config.dedup):
            yield model_row(outcome, attempt, config, origin)
    if not outcome.chosen:
        yield from _fallback(outcome, config, origin, seen, counts)


def _fallback(outcome: Outcome, config: OutputConfig, origin: Provenance, seen: set, counts: Written) -> Iterator[dict]:
    if config.fallback == "skip" or config.accept is not None or not outcome.problem.reasoning:
        counts.skipped += 1
    elif not _repeats(outcome.problem, outcome.problem.reasoning, seen, counts, config.dedup):
        counts.fallbacks += 1
        yield original_row(outcome, origin)


def _repeats(problem: Problem, reasoning: str, seen: set[tuple[str, str]], counts: Written, dedup: bool):
    """Whether question and reasoning stand in an earlier row and are to be left out; counted either way."""
    key = (normal(problem.question), normal(reasoning))
    repeated = key in seen
    seen.add(key)
    counts.duplicates += repeated
    return repeated and dedup


def model_row(outcome: Outcome, attempt: Attempt, config: OutputConfig, origin: Provenance) -> dict[str, Any]:
    """A trace that the model wrote and the grader accepted, or, in the graded file, any attempt."""
    said = {
        "question": outcome.problem.question,
        "answer": _gsm8k(attempt.reasoning or "", attempt.answer or ""),
        "response": attempt.response,
        "ground_truth": outcome.problem.answer,
        "extracted_answer": attempt.answer,
    }
    if config.accept is not None:
        said = {"prompt": outcome.problem.question, "response": attempt.response, "score": attempt.score}
    row = {
        **said,
        "id": outcome.problem.id,
        "source": "model",
        "attempt": attempt.sample + 1,
        "n_attempts": len(outcome.attempts),
        "n_correct": outcome.n_verified,
        "seed": origin.seed,
        "model_hash": origin.model_hash,
        "finish_reason": attempt.finish_reason,
    }
    return row | {"token_ids": list(attempt.token_ids)} if config.token_ids and attempt.token_ids is not None else row


def graded_row(outcome: Outcome, attempt: Attempt, config: OutputConfig, origin: Provenance) -> dict[str, Any]:
    told = {"verified": attempt.verified, "verdict": attempt.verdict, "n_tokens": attempt.n_tokens}
    more = {name: value for name in ("pruned", "steps", "confidence") if (value := getattr(attempt, name)) is not None}
    return model_row(outcome, attempt, config, origin) | told | more


def original_row(outcome: Outcome, origin: Provenance) -> dict[str, Any]:
    """The data's own solution, in place of a trace and marked as what it is."""
    problem = outcome.problem
    return {
        "question": problem.question,
        "answer": _gsm8k(problem.reasoning, problem.answer),
        "response": origin.profile.completion(problem.reasoning, problem.answer),
        "ground_truth": problem.answer,
        "extracted_answer": problem.answer,
        "id": problem.id,
        "source": "original",
        "attempt": None,
        "n_attempts": len(outcome.attempts),
        "n_correct": outcome.n_verified,
        "seed": origin.seed,
        "model_hash": origin.model_hash,
        "finish_reason": None,
    }


def _gsm8k(reasoning: str, answer: str) -> str:
    """Reasoning, then `#### answer` on one line: what `tools-sft --traces-file` reads."""
    return f"{reasoning}\n\n#### {' '.join(answer.split())}"
