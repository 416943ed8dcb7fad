"""`judge:RUBRIC.yaml`: a language model's verdicts as rewards between 0 and 1."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from tools_shared import processes
from tools_shared.console import say
from tools_shared.errors import ToolError, UnusableError
from tools_shared.judging.agreement import agreement_line
from tools_shared.judging.bias import copied, rank_correlation, repetition
from tools_shared.judging.judge import Judge, check_judge
from tools_shared.judging.questions import LONGEST_REPLY, Question
from tools_shared.judging.rubric import Criterion, Rubric, criteria_of, load_rubric
from tools_shared.judging.spent import Spent
from tools_shared.prompts import Profile
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores
from tools_shared.stats import wilson

PROBED = 16
"""Completions of the first batch that are judged again, to see whether the judge contradicts itself."""
REMEMBERED = 256
"""The latest completions that the signs of reward hacking are looked for in."""
_SIGNS = ("length", "repetition", "copied rubric words")
_STRONG = 0.5


@dataclass(frozen=True)
class Seen:
    """What a judge's scores may go by: of one scored completion."""

    score: float
    length: float
    repetition: float
    copied: float


@dataclass
class Impressions:
    """What a judge reward remembers between calls."""

    reported: Spent = field(default_factory=Spent)
    seen: deque[Seen] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    first_wins: int = 0
    decided: int = 0
    turned: int = 0
    pairs: int = 0
    file: Path | None = None
    warned: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class JudgeReward(Reward):
    """Scores by a rubric: an absolute score on its scale from 0 to 1, the weighted share of criteria that are met, or
    the share of comparisons within the group that are won. None where the judgement failed."""

    path: Path
    rubric: Rubric
    profile: Profile | None = field(repr=False, compare=False)
    judge: Judge = field(repr=False, compare=False)
    memory: Impressions = field(default_factory=Impressions, repr=False, compare=False)

    is_slow: ClassVar[bool] = True

    @classmethod
    def load(cls, path: Path, weight: float, profile: Profile | None = None) -> JudgeReward:
        rubric = load_rubric(path)
        check_judge(rubric)
        return cls(f"judge:{rubric.name}", weight, path, rubric, profile, Judge(rubric))

    def __reduce__(self) -> tuple[Any, ...]:
        return JudgeReward.load, (self.path, self.weight, self.profile)

    @property
    def has_budget(self) -> bool:
        return self.rubric.judge.budget is not None or self.rubric.judge.budget_tokens is not None

    @property
    def is_relative(self) -> bool:
        return self.rubric.kind == "pairwise"

    def check_row(self, columns: Mapping[str, Any]) -> None:
        for name in self.rubric.columns:
            if columns.get(name) is None:
                raise UnusableError(f"no column \"{name}\", which the reward '{self.name}' wants")
        self._criteria(columns)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        texts = [self._visible(completion_text(c), i, columns) for i, c in enumerate(completions)]
        rows = [
            {name: values[i] for name, values in columns.items() if _is_column(values, texts)}
            for i in range(len(texts))
        ]
        asked = [columns["question"][i] if "question" in columns else str(prompts[i]) for i in range(len(texts))]
        shown = [self._shown(asked[i], rows[i]) for i in range(len(texts))]
        try:
            scores = self._scores(shown, rows, texts)
        finally:
            self._keep()
        words = self.rubric.words()
        for score, text, question in zip(scores, texts, asked, strict=True):
            if score is not None:
                self.memory.seen.append(Seen(score, len(text), repetition(text), copied(text, words, question)))
        return scores

    def _visible(self, text: str, i: int, columns: Mapping[str, Any]) -> str:
        """What a reader of the reply sees: nothing before the end of its thinking."""
        think = self.profile.think if self.profile else None
        if think and think[1] in text:
            text = text.partition(think[1])[2]
        elif think and (think[0] in text or (columns.get("opens_thinking") or [False] * (i + 1))[i]):
            text = ""
        return text[:LONGEST_REPLY]

    def _shown(self, question: str, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"prompt": question, **{name: row.get(name) for name in self.rubric.show}}

    def _criteria(self, row: Mapping[str, Any]) -> tuple[Criterion, ...]:
        if self.rubric.row_criteria is None:
            return self.rubric.criteria
        try:
            return criteria_of(row.get(self.rubric.row_criteria), f'"{self.rubric.row_criteria}"')
        except ToolError as error:
            raise UnusableError(str(error)) from None

    def _scores(self, shown: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], texts: Sequence[str]) -> Scores:
        return self._pairwise(shown, texts) if self.rubric.kind == "pairwise" else self._absolute(shown, rows, texts)

    def _absolute(
        self, shown: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], texts: Sequence[str]
    ) -> Scores:
        questions = self._questions(shown, rows, texts)
        found = self.judge.ask(questions)
        return [self._score(said, question) for said, question in zip(found, questions, strict=True)]

    def _questions(
        self, shown: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], texts: Sequence[str]
    ) -> list[Question]:
        return [
            Question({**one, "reply": text}, self._criteria(row) if self.rubric.kind == "criteria" else ())
            for one, row, text in zip(shown, rows, texts, strict=True)
        ]

    def _score(self, said: Mapping[str, Any] | None, question: Question) -> float | None:
        if said is None:
            return None
        if self.rubric.kind == "score":
            low, high = self.rubric.scale
            return (said["score"] - low) / (high - low)
        earned = sum(one.weight for one in question.criteria if said[one.name])
        return max(0.0, earned / sum(one.weight for one in question.criteria if one.weight > 0))

    def _pairwise(self, shown: Sequence[dict[str, Any]], texts: Sequence[str]) -> Scores:
        pairs = [pair for group in _groups(shown) for pair in self._pairs(group)]
        orders = [order for i, j in pairs for order in ((i, j), (j, i))]
        found = self.judge.ask([Question({**shown[i], "reply A": texts[i], "reply B": texts[j]}) for i, j in orders])
        won: list[list[float]] = [[] for _ in texts]
        for (i, j), said in zip(orders, found, strict=True):
            if said is not None:
                first = {"A": 1.0, "B": 0.0, "TIE": 0.5}[said["better"]]
                won[i].append(first)
                won[j].append(1 - first)
        for one, other in zip(found[::2], found[1::2], strict=True):
            self._note_order(one, other)
        return [fmean(values) if values else None for values in won]

    def _pairs(self, group: Sequence[int]) -> list[tuple[int, int]]:
        """Each reply of a group with `opponents` others: its neighbours on a ring, or all where there are no more."""
        n, k = len(group), self.rubric.opponents
        if k >= n - 1:
            return list(combinations(group, 2))
        pairs = {tuple(sorted((i, (i + d) % n))) for i in range(n) for d in range(1, k // 2 + k % 2 + 1)}
        return [(group[i], group[j]) for i, j in sorted(pairs)]

    def _note_order(self, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> None:
        """Whether two verdicts on the same two replies, in both orders, say the same."""
        memory = self.memory
        for said in filter(None, (one, other)):
            memory.decided += said["better"] != "TIE"
            memory.first_wins += said["better"] == "A"
        if one is not None and other is not None:
            memory.pairs += 1
            memory.turned += other["better"] != {"A": "B", "B": "A", "TIE": "TIE"}[one["better"]]

    # What it costs, and what it goes by

    def inputs(self) -> list[tuple[str, str, str]]:
        return [(f"rubric {self.rubric.name}", str(self.path), self.rubric.sha256)]

    def agreement(self) -> str:
        """How far the judge agrees with people's labels, in one line."""
        return agreement_line(self.rubric, self.path)

    def attach(self, folder: Path) -> None:
        """Say how far the judge agrees with people; go on from what judging has cost in a run before it was
        interrupted, and note it there from now on."""
        say(f"{self.name}: {self.agreement()}")
        name = self.rubric.name.replace("/", "_")
        rank = f"-{processes.rank()}" if processes.rank() else ""
        self.memory.file = folder / f"judge-{name}{rank}.json"
        if self.memory.file.is_file():
            before = Spent(**json.loads(self.memory.file.read_text(encoding="utf-8")))
            for told in (self.judge.spent, self.judge.before, self.memory.reported):
                told.add(before)

    def _keep(self) -> None:
        if self.memory.file is not None:
            self.judge.write_spent(self.memory.file)

    def spent(self) -> dict[str, float]:
        """What judging has cost since this was asked the last time: tokens, requests, failures, and money where prices
        are known."""
        found = self.judge.spent.minus(self.memory.reported)
        if not self.judge.prices.known:
            del found["money"]
        self.memory.reported = replace(self.judge.spent)
        return found

    def share(self, n: int, spent: Mapping[str, float]) -> None:
        part = Spent(**{name: value / n for name, value in spent.items()})  # type: ignore[arg-type]  # parts of counts
        for told in (self.judge.spent, self.judge.before, self.memory.reported):
            told.add(part)
        self.judge.sharers = n

    def add_spent(self, spent: Mapping[str, float]) -> None:
        counts = {name: round(value) for name, value in spent.items() if name != "money"}
        self.judge.spent.add(Spent(**counts, money=spent["money"]))
        self._keep()

    def total(self) -> dict[str, float]:
        return dict(vars(self.judge.spent))

    def signs(self) -> dict[str, float]:
        """Rank correlations of the latest scores with what a policy might please the judge by. A strong one is said
        once."""
        found = {}
        for name, values in self._suspects():
            rho = rank_correlation([seen.score for seen in self.memory.seen], values)
            if rho is None:
                continue
            found[name] = rho.rho
            if rho.low > _STRONG and name not in self.memory.warned:
                self.memory.warned.add(name)
                say(f"{self.name}: scores go with {name} (rank correlation {rho}); read some rollouts before going on")
        return found

    def _suspects(self) -> Iterator[tuple[str, list[float]]]:
        seen = self.memory.seen
        yield from zip(
            _SIGNS, ([s.length for s in seen], [s.repetition for s in seen], [s.copied for s in seen]), strict=True
        )

    def first_batch(self, arguments: Mapping[str, Any]) -> list[str]:
        """What the judge goes by in the completions of a first batch, which have been scored: length, place, and
        whether it says the same twice."""
        lines = [
            f"{self.name}: rank correlation of score and {name} {rho}"
            for name, values in self._suspects()
            if (rho := rank_correlation([seen.score for seen in self.memory.seen], values))
        ]
        return lines + (self._order_lines() if self.rubric.kind == "pairwise" else self._again(arguments))

    def _order_lines(self) -> list[str]:
        memory = self.memory
        if not memory.pairs:
            return []
        first = wilson(memory.first_wins, memory.decided) if memory.decided else None
        turned = wilson(memory.turned, memory.pairs)
        told = f"the first of two replies wins {_percent(memory.first_wins, memory.decided, first)}; " if first else ""
        return [
            f"{self.name}: {told}another verdict in the other order {_percent(memory.turned, memory.pairs, turned)}"
        ]

    def _again(self, arguments: Mapping[str, Any]) -> list[str]:
        """Judge some of the batch again, as they are and with the criteria in reverse order."""
        n = min(PROBED, len(arguments["completions"]))
        columns = {k: v[:n] for k, v in arguments.items() if isinstance(v, list)}
        prompts, completions = columns.pop("prompts"), columns.pop("completions")
        texts = [self._visible(completion_text(c), i, columns) for i, c in enumerate(completions)]
        rows = [{name: values[i] for name, values in columns.items()} for i in range(n)]
        asked = [columns["question"][i] if "question" in columns else str(prompts[i]) for i in range(n)]
        questions = self._questions([self._shown(asked[i], rows[i]) for i in range(n)], rows, texts)
        lines = []
        before = self.judge.ask(questions)
        for what, others in (
            ("asked again", [replace(question, draw=1) for question in questions]),
            ("with the criteria in reverse order", [replace(q, criteria=q.criteria[::-1]) for q in questions]),
        ):
            if self.rubric.kind == "score" and what != "asked again":
                continue
            found = self.judge.ask(others)
            pairs = [
                (a, b)
                for said, more, question in zip(before, found, questions, strict=True)
                if (a := self._score(said, question)) is not None and (b := self._score(more, question)) is not None
            ]
            if pairs:
                k = sum(a != b for a, b in pairs)
                mean = fmean(abs(a - b) for a, b in pairs)
                share = _percent(k, len(pairs), wilson(k, len(pairs)))
                lines.append(f"{self.name}: another score {what} {share}, by {mean:.2f} on average")
        self._keep()
        return lines


def _percent(k: int, n: int, interval: Any) -> str:
    return f"{100 * k / n:.0f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}], n={n}"


def _is_column(values: Any, texts: Sequence[str]) -> bool:
    return isinstance(values, list | tuple) and len(values) == len(texts)


def _groups(shown: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Neighbours that answer the same: the groups of a step."""
    groups: list[list[int]] = []
    for i, one in enumerate(shown):
        if groups and shown[groups[-1][0]] == one:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
