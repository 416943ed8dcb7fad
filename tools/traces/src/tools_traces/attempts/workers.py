"""Sampling spread over Ray's workers: each has the model, takes some questions and gives back their graded attempts.

Attempt k of a question depends on (seed, id, k) alone, so it does not matter which worker samples it, nor whether one
was killed and its questions went to another: the rows are those of one process (to the last bit where threads,
processors and `--batch-size` are the same). Attempts enter the journal here, question by question, as the parts
come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_shared.engines import open_engine
from tools_shared.models import local_path, resolve
from tools_shared.processes.ray_map import map_parts
from tools_shared.prompts import Profile, render_question
from tools_shared.records import Problem
from tools_shared.rewards import Reward
from tools_shared.scorers.scorer import MODEL, NAMED
from tools_traces.attempts.grading import accepter, grader, load_accepted
from tools_traces.attempts.journal import Attempt, AttemptJournal, Attempts
from tools_traces.attempts.schedule import Schedule, n_wanted, sampling_params
from tools_traces.config import TracesConfig

if TYPE_CHECKING:
    import numpy as np

ROUNDS = 4
"""Questions of a part, in batches: enough that a slot that is free is refilled, few enough to share them out."""


class Fleet:
    """As `Schedule`, with workers for its engine."""

    def __init__(
        self,
        problems: Sequence[Problem],
        config: TracesConfig,
        profile: Profile,
        journal: AttemptJournal,
        accepted: Reward | None = None,
    ) -> None:
        self.config, self.profile, self.journal, self.accepted = config, profile, journal, accepted
        self._left = [problem for problem in problems if not self._is_finished(problem.id)]
        self.n_finished = len(problems) - len(self._left)

    def _known(self, problem_id: str) -> list[Attempt]:
        numbers = range(self.config.max_attempts)
        found = self.journal.attempts
        return [found[problem_id, k] for k in numbers if (problem_id, k) in found]

    def _is_finished(self, problem_id: str) -> bool:
        verified = {attempt.sample: attempt.verified for attempt in self._known(problem_id)}
        return all(k in verified for k in range(n_wanted(verified, self.config.goal, self.config.max_attempts)))

    def run(self, on_attempt: Callable[[Attempt], None]) -> None:
        """Sample until every question has what it needs; `on_attempt` is told of each graded attempt."""
        options = worker_options(self.config, self.profile, self.accepted)
        for _, columns in map_parts(AttemptSampler, options, self._parts(), self.config):
            attempts = [Attempt.from_json(json.loads(line)) for line in columns["attempt"]]
            for attempt in attempts:
                self.journal.add(attempt)
            if self.accepted is not None and columns["spent"][0]:
                self.accepted.add_spent(json.loads(columns["spent"][0]))
            self.n_finished += len({attempt.id for attempt in attempts})
            for attempt in attempts:
                on_attempt(attempt)

    def _parts(self) -> list[dict[str, list[str]]]:
        shared_out = -(-len(self._left) // (self.config.ray_workers or 1))
        size = min(ROUNDS * self.config.batch_size, shared_out) or 1
        return [self._part(self._left[start : start + size]) for start in range(0, len(self._left), size)]

    def _part(self, problems: Sequence[Problem]) -> dict[str, list[str]]:
        return {
            "problem": [_as_text([p.id, p.question, p.answer]) for p in problems],
            "row": [json.dumps(dict(p.row), ensure_ascii=False, default=str) for p in problems],
            "known": [_as_text([asdict(a) for a in self._known(p.id)]) for p in problems],
        }


def worker_options(config: TracesConfig, profile: Profile, accepted: Reward | None = None) -> dict[str, Any]:
    """What a worker is made from: plain values, and folders by their whole path, since it starts elsewhere."""
    model = str(Path(config.model).resolve()) if Path(config.model).exists() else config.model
    here = {"engine": config.ray_engine, "model": model, "profile": None, "output_dir": None}
    if config.acceptance is not None:
        here["accept"] = f"{absolute(config.acceptance[0])}>={config.acceptance[1]!r}"
    told = {f.name: getattr(config, f.name) for f in fields(config)} | here
    return {"options": told, "profile": profile.to_json(), "spent": accepted.total() if accepted else {}}


def absolute(reward: str) -> str:
    """A reward by the absolute path of its file or model, which workers that start in another folder find too."""
    kind, colon, rest = reward.partition(":")
    if kind == "scorer" and rest.startswith((MODEL, NAMED)):
        return f"{kind}:{absolute(rest)}"
    if colon and kind in ("judge", "model", "scorer"):
        # What follows the path: an option of the scorer, and a weight.
        ends = [len(rest), *reversed([match.start() for match in re.finditer(r"[?:]", rest)])]
        for end in ends:
            path = local_path(rest[:end]) if kind == "model" else Path(rest[:end])
            if path is not None and path.exists():
                return f"{kind}:{path.resolve()}{rest[end:]}"
        return reward
    file, colon, function = reward.partition(".py:")
    return f"{Path(file + '.py').resolve()}:{function}" if colon else reward


class AttemptSampler:
    """One worker: the model, loaded once, and a schedule for each part."""

    def __init__(self, options: Mapping[str, Any], profile: Mapping[str, Any], spent: Mapping[str, float]) -> None:
        self.config = TracesConfig(**options)
        self.profile = Profile.from_json(profile)
        self.engine = open_engine(resolve(self.config.model), self.config)
        self.accepted = load_accepted(self.config, self.profile)
        if self.accepted is not None and spent:
            self.accepted.share(self.config.ray_workers or 1, spent)

    def __call__(self, columns: dict[str, np.ndarray]) -> dict[str, list[str]]:
        problems = [
            Problem(*json.loads(text), row=json.loads(row))
            for text, row in zip(columns["problem"], columns["row"], strict=True)
        ]
        known = [Attempt.from_json(data) for text in columns["known"] for data in json.loads(text)]
        found = Attempts({(a.id, a.sample): a for a in known})
        pairs = [(p, render_question(self.engine.tokenizer, self.profile, p.question)) for p in problems]
        grade = grader(self.profile, self.config.token_ids)
        if self.accepted is not None and self.config.acceptance is not None:
            grade = accepter(self.accepted, self.config.acceptance[1], self.profile, self.config.token_ids)
        fresh: list[Attempt] = []
        schedule = Schedule(pairs, self.config.goal, self.config.max_attempts, found, grade)
        schedule.run(self.engine, sampling_params(self.config), self.config.batch_size, fresh.append)
        spent = self.accepted.spent() if self.accepted is not None else {}
        told = [_as_text(spent) if spent else "", *[""] * (len(fresh) - 1)]
        return {"attempt": [_as_text(asdict(attempt)) for attempt in fresh], "spent": told}


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
