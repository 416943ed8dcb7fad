"""Carries out the rules over the traces of one engine, which tells of every token and asks what goes.

The same code decides for every engine, so the same tokens, scores and confidences stop a trace at the same token. A
step is judged when the token after it has been sampled: only then is it known to be complete (a point may go on as a
decimal), and its state is there. A trace that is stopped has been told of as a completion with `pruned`, one that was
never begun as one without tokens.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tools_shared.answers.extract import extract
from tools_shared.answers.voting import number_answers
from tools_shared.engines.types import Completion, Draw, OnDraw, Take
from tools_shared.prompts import Profile
from tools_shared.prompts.ends import text_of
from tools_shared.pruning.rules import GroupConfidence, Pruned, Rules, is_settled, over_budget, percentile
from tools_shared.pruning.step_ends import Reasoning, StepEnds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tools_shared.scorers.scorer import Scorer


@dataclass
class _Question:
    """What is known of a question: the answers and lowest confidences of its traces that have ended."""

    answers: dict[int, str | None] = field(default_factory=dict)
    lowest: dict[int, float | None] = field(default_factory=dict)
    is_settled: bool = False
    threshold: float | None = None


@dataclass(eq=False)
class RunningTrace:
    """One running trace: its tokens, the scores of its ended steps, and its confidence."""

    draw: Draw
    question: _Question
    confidence: GroupConfidence
    tokens: list[int] = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)
    """Of each ended step: the tokens up to its end, and its probability."""
    reasoning: Reasoning = field(default_factory=Reasoning)
    mean: float | None = None
    """Of the steps."""
    group: float | None = None
    """The group confidence at the last token."""


class Watcher:
    """The rules at work. `n_samples` are those of each question; `token_bytes` is what the keys and values of one
    token take; `scorer` is that of `step:`."""

    def __init__(
        self,
        rules: Rules,
        tokenizer: PreTrainedTokenizerBase,
        profile: Profile,
        n_samples: int,
        token_bytes: int,
        scorer: Scorer | None = None,
    ) -> None:
        self.rules, self.tokenizer, self.profile = rules, tokenizer, profile
        self.n_samples, self.token_bytes, self.scorer = n_samples, token_bytes, scorer
        delimiter = scorer.facts.reader["delimiter"] if scorer is not None and rules.by_state else None
        self.ends = None if delimiter is None else StepEnds(tokenizer, profile, delimiter)
        self.budget = None if rules.budget is None else rules.budget // token_bytes
        self.n_warm_up = rules.n_warm_up(n_samples)
        self.running: list[RunningTrace] = []
        self.questions: dict[str, _Question] = {}
        self._waiting: deque[Draw] = deque()
        self._suspects: set[RunningTrace] = set()
        self._prompts: dict[str, tuple[int, int]] = {}
        self._n_held = 0

    @property
    def by_turns(self) -> bool:
        """Whether each question's first samples are better begun before any other's second: then a vote may be settled
        before the rest begin."""
        return self.rules.agree is not None

    # What begins

    def next(self, take: Take, on_draw: OnDraw) -> Draw | None:
        """The next sample to begin, None when there is nothing now; one of a settled question is told of as pruned."""
        for draw in [draw for draw in self._waiting if not draw.is_wanted() or self._may_begin(draw)]:
            self._waiting.remove(draw)
            if self._is_refused(draw, on_draw) or not draw.is_wanted():
                continue
            return draw
        if not self._has_room():
            return None
        while (taken := take()) is not None:
            if self._is_refused(taken, on_draw):
                continue
            if self._may_begin(taken):
                return taken
            self._waiting.append(taken)
        # Nothing runs that those waiting could wait for: a journal holds their question's first traces.
        return self._waiting.popleft() if self._waiting and not self.running else None

    def _has_room(self) -> bool:
        """A new trace begins while less than half of the budget is taken, so that it is not stopped for its start."""
        return self.budget is None or not self.running or self._n_held < self.budget / 2

    def _may_begin(self, draw: Draw) -> bool:
        question = self._question(draw.key)
        is_late = self.rules.percentile is not None and draw.sample >= self.n_warm_up
        return self._has_room() and not (is_late and question.threshold is None and not question.is_settled)

    def _is_refused(self, draw: Draw, on_draw: OnDraw) -> bool:
        if not self._question(draw.key).is_settled:
            return False
        pruned = Pruned(self.rules.words["agree"], 0, None, 0)
        on_draw(draw, Completion("", (), "pruned", n_told=0, pruned=pruned))
        return True

    def begin(self, draw: Draw) -> RunningTrace:
        """A trace that the engine has begun."""
        trace = RunningTrace(draw, self._question(draw.key), GroupConfidence(self.rules.window or 1))
        self.running.append(trace)
        n_prompt = len(draw.prompt.token_ids)
        _, n_running = self._prompts.get(draw.key, (n_prompt, 0))
        self._prompts[draw.key] = n_prompt, n_running + 1
        self._n_held += 0 if n_running else n_prompt
        return trace

    # What runs

    def see(self, trace: RunningTrace, token: int, confidence: float | None = None) -> bool:
        """Note a trace's new token; returns whether the token before it ends a step, whose probability is then to be
        given to `score`. It runs for every token, so what can wait for a step's end does."""
        tokens = trace.tokens
        tokens.append(token)
        self._n_held += 1
        if confidence is not None:
            trace.group = group = trace.confidence.add(confidence)
            if group is not None and (least := self._least(trace)) is not None and group < least:
                self._suspects.add(trace)
        if self.ends is None or len(tokens) < 2:
            return False
        return self.ends.may_end(tokens[-2]) and self.ends.have_ended(tokens, trace.reasoning)

    def score(self, trace: RunningTrace, probability: float) -> None:
        trace.steps.append((len(trace.tokens) - 1, probability))
        trace.mean = math.fsum(found for _, found in trace.steps) / len(trace.steps)
        if self.rules.step is not None and trace.mean < self.rules.step:
            self._suspects.add(trace)

    def due(self) -> list[tuple[RunningTrace, Pruned]]:
        """The running traces that go now, which do not run any more."""
        found: dict[RunningTrace, Pruned] = {}
        for trace in [trace for trace in self.running if trace in self._suspects] if self._suspects else ():
            if (pruned := self._by_itself(trace)) is not None:
                found[trace] = pruned
                self.leave(trace)
        self._suspects.clear()
        if self.budget is not None and self._n_held > self.budget:
            for trace in self._over(self.budget):
                found[trace] = self._pruned("budget", trace, self._choice(trace))
                self.leave(trace)
        return list(found.items())

    def _by_itself(self, trace: RunningTrace) -> Pruned | None:
        rules = self.rules
        if trace.question.is_settled:
            return self._pruned("agree", trace, None)
        mean = trace.mean
        if rules.step is not None and mean is not None and mean < rules.step:
            return self._pruned("step", trace, mean)
        least = self._least(trace)
        if least is not None and trace.group is not None and trace.group < least:
            return self._pruned("confidence", trace, trace.group)
        return None

    def _least(self, trace: RunningTrace) -> float | None:
        """The confidence below which a trace goes; None for one that sets it."""
        if self.rules.percentile is None:
            return self.rules.confidence
        return trace.question.threshold if trace.draw.sample >= self.n_warm_up else None

    def _pruned(self, kind: str, trace: RunningTrace, score: float | None) -> Pruned:
        return Pruned(self.rules.words[kind], len(trace.steps), score, len(trace.tokens))

    def _choice(self, trace: RunningTrace) -> float | None:
        return trace.mean if self.rules.by_state else trace.confidence.mean

    def _over(self, budget: int) -> list[RunningTrace]:
        """Those that go. The cache holds each trace's own tokens, and each running question's prompt once."""
        held, scores = [len(trace.tokens) for trace in self.running], [self._choice(trace) for trace in self.running]
        room = budget - (self._n_held - sum(held))
        return [self.running[i] for i in over_budget(held, scores, room)]

    # What has ended

    def leave(self, trace: RunningTrace) -> None:
        """A trace that runs no more: it has ended, or is wanted no more."""
        if trace not in self.running:
            return
        self.running.remove(trace)
        key = trace.draw.key
        n_prompt, n_running = self._prompts.pop(key)
        self._n_held -= len(trace.tokens) + (n_prompt if n_running == 1 else 0)
        if n_running > 1:
            self._prompts[key] = n_prompt, n_running - 1

    def end(self, trace: RunningTrace, text: str) -> dict[str, Any]:
        """A trace has come to its own end with this text; returns what its completion says of the rules."""
        self.leave(trace)
        draw, answer = trace.draw, None
        if self.rules.agree is not None:
            answer = extract(text, self.profile, opened=draw.prompt.opens_thinking).answer
        self.remember(draw.key, draw.sample, answer, trace.confidence.lowest)
        return self._told(trace)

    def remember(self, key: str, sample: int, answer: str | None, lowest: float | None) -> None:
        """A trace of a question has ended, now or in an earlier session: its answer (None: it has none, or was
        stopped), and its lowest group confidence."""
        question = self._question(key)
        question.answers[sample], question.lowest[sample] = answer, lowest
        if self.rules.percentile is not None and question.threshold is None:
            first = [question.lowest[k] for k in range(self.n_warm_up) if k in question.lowest]
            told = [value for value in first if value is not None]
            if len(first) == self.n_warm_up and told:
                question.threshold = percentile(told, self.rules.percentile)
                self._suspect(question)
        if self.rules.agree is not None and not question.is_settled:
            votes = _counts(number_answers([question.answers[k] for k in sorted(question.answers)]))
            question.is_settled = is_settled(votes, self.n_samples - len(question.answers), self.rules.agree)
            if question.is_settled:
                self._suspect(question)

    def _suspect(self, question: _Question) -> None:
        """What is known of a question has changed: its running traces may have to go."""
        self._suspects.update(trace for trace in self.running if trace.question is question)

    def completion(self, trace: RunningTrace, pruned: Pruned) -> Completion:
        """What a stopped trace is told of as. It has no vote; its question counts it."""
        self.remember(trace.draw.key, trace.draw.sample, None, trace.confidence.lowest)
        text = text_of(self.tokenizer, trace.tokens, frozenset())
        return Completion(text, tuple(trace.tokens), "pruned", pruned=pruned, **self._told(trace))

    def _told(self, trace: RunningTrace) -> dict[str, Any]:
        confidence = trace.confidence.told if self.rules.by_confidence else None
        return {"steps": tuple(trace.steps) if self.rules.by_state else None, "confidence": confidence}

    def _question(self, key: str) -> _Question:
        return self.questions.setdefault(key, _Question())


def _counts(numbers: Iterable[Hashable | None]) -> list[int]:
    counts: dict[Hashable, int] = {}
    for number in numbers:
        if number is not None:
            counts[number] = counts.get(number, 0) + 1
    return list(counts.values())
