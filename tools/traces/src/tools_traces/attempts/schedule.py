"""Which attempt is sampled next: each question on its own, until it has what it needs.

A question leaves at its first verified attempt (or its k-th, or when its attempts are used up) and its place in the
running batch is refilled at once. Towards the end, when there are fewer questions than places, a place that would stay
empty (and be computed all the same) samples a later attempt ahead; it is dropped when an earlier one is verified. Which
attempts count in the end follows from their verdicts alone, not from the order in which they came: `n_wanted` is the
shortest beginning of a question's attempts that has what it needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from tools_shared.engines import Completion, Draw, Engine, SamplingParams
from tools_shared.prompts import Prompt
from tools_shared.records import Problem
from tools_traces.attempts.journal import Attempt, Attempts
from tools_traces.config import TracesConfig

GRADERS = 4
PATIENCE_S = 0.005
"""How long generation waits for a grade: numbers take microseconds and the next attempt then reuses what the engine
holds of the prompt; algebra may take seconds, and goes on beside."""


def n_wanted(verified: Mapping[int, bool], goal: int | None, max_attempts: int) -> int:
    """How many attempts, from the first, a question needs as far as the verdicts of some (by number) tell.

    With `goal` None all `max_attempts`; else as many as it takes to have `goal` verified ones.
    """
    if goal is None:
        return max_attempts
    wanted = min(goal, max_attempts)
    counted = 0
    while counted < wanted:
        if verified.get(counted) is False:
            wanted = min(wanted + 1, max_attempts)
        counted += 1
    return wanted


def sampling_params(config: TracesConfig) -> SamplingParams:
    return SamplingParams(
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        seed=config.seed,
        prune=bool(config.prune),
    )


@dataclass
class _Question:
    problem: Problem
    prompt: Prompt
    verified: dict[int, bool] = field(default_factory=dict)
    n_given: int = 0
    is_open: bool = True

    def draw(self, sample: int) -> Draw:
        return Draw(self.prompt, self.problem.id, sample, is_wanted=lambda: self.is_open)


class Schedule:
    """Hands out samples and takes back completions; `grade` runs in threads beside the engine. `by_turns`: the first of
    each question, then the second of each, instead of one question after another."""

    def __init__(
        self,
        questions: Iterable[tuple[Problem, Prompt]],
        goal: int | None,
        max_attempts: int,
        journal: Attempts,
        grade: Callable[[Problem, Prompt, Draw, Completion], Attempt],
        by_turns: bool = False,
    ) -> None:
        self.goal, self.max_attempts, self.journal, self.grade = goal, max_attempts, journal, grade
        self.questions = {problem.id: _Question(problem, prompt) for problem, prompt in questions}
        self._fresh: deque[Draw] = deque()
        self._again: deque[Draw] = deque()
        self._pending: set[Future[Attempt]] = set()
        self._open = dict(self.questions)
        self._running: set[tuple[str, int]] = set()
        self._n_slots = 0
        for key, attempt in journal.attempts.items():
            if key[0] in self.questions:
                self.questions[key[0]].verified[key[1]] = attempt.verified
        for question in self.questions.values():
            self._give(question, self._fresh)
        if by_turns:
            self._fresh = deque(sorted(self._fresh, key=lambda draw: draw.sample))

    def _give(self, question: _Question, queue: deque[Draw]) -> None:
        """Queue the attempts that the question needs and has not been given; close it when it needs no more."""
        wanted = n_wanted(question.verified, self.goal, self.max_attempts)
        for sample in range(question.n_given, wanted):
            if sample not in question.verified:
                queue.append(question.draw(sample))
        question.n_given = max(question.n_given, wanted)
        if question.is_open and all(sample in question.verified for sample in range(wanted)):
            question.is_open = False
            del self._open[question.problem.id]
            self._running -= {(question.problem.id, sample) for sample in range(question.n_given)}

    @property
    def n_finished(self) -> int:
        return len(self.questions) - len(self._open)

    @property
    def has_work(self) -> bool:
        return bool(self._again or self._fresh or self._pending)

    def run(
        self,
        engine: Engine,
        params: SamplingParams,
        n_slots: int,
        on_attempt: Callable[[Attempt], None],
        ahead: bool = True,
    ) -> None:
        """Sample until every question has what it needs; `on_attempt` is told of each graded attempt. `ahead`: places
        that would stay empty sample later attempts; not for servers, where each costs."""
        self._on_attempt = on_attempt
        self._n_slots = n_slots if ahead else 0
        with ThreadPoolExecutor(GRADERS) as graders:

            def note(draw: Draw, completion: Completion) -> None:
                engine.count(draw, completion)
                question = self.questions[draw.key]
                self._running.discard((draw.key, draw.sample))
                graded = graders.submit(self.grade, question.problem, question.prompt, draw, completion)
                self._pending.add(graded)
                wait([graded], timeout=PATIENCE_S)
                self._collect_done()

            try:
                while self.has_work:
                    engine.stream(self._take, params, note, n_slots=n_slots)
                    self._collect(wait(self._pending).done)
            finally:
                # What stops the engine (a server that is down, SIGTERM) takes no completion that has come.
                self._collect(wait(self._pending).done)

    def _take(self) -> Draw | None:
        self._collect_done()
        queue = self._again or self._fresh
        draw = queue.popleft() if queue else self._ahead()
        if draw is not None:
            self._running.add((draw.key, draw.sample))
        return draw

    def _ahead(self) -> Draw | None:
        """A later attempt of the open question that has the fewest under way; of those the one that failed most."""
        if len(self._running) >= self._n_slots:
            return None
        for question in self._open.values():
            while question.n_given in question.verified:  # a journal may hold attempts that were sampled ahead
                question.n_given += 1
        open_still = [q for q in self._open.values() if q.n_given < self.max_attempts]
        if not open_still:
            return None
        question = min(open_still, key=lambda q: (q.n_given - len(q.verified), -len(q.verified)))
        question.n_given += 1
        return question.draw(question.n_given - 1)

    def _collect_done(self) -> None:
        """At each completion too, not only when a sample is asked for: an engine that takes whole lists asks once, and
        what a kill finds is the journal."""
        self._collect([graded for graded in self._pending if graded.done()])

    def _collect(self, done: Sequence[Future[Attempt]] | set[Future[Attempt]]) -> None:
        for graded in sorted(done, key=lambda future: (future.result().id, future.result().sample)):
            self._pending.discard(graded)
            attempt = graded.result()
            self.journal.add(attempt)
            question = self.questions[attempt.id]
            question.verified[attempt.sample] = attempt.verified
            self._give(question, self._again)
            self._on_attempt(attempt)
