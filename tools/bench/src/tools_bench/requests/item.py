"""One thing to ask, stored whole in the run (`items.jsonl`), so that its responses can be graded again years later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Item:
    """One thing to ask. `answer` is the gold answer (math, match, tutor), `label` says whether to refuse (`unsafe`).

    `reasoning` is the gold solution, if there is one; `groups` are the labels that results are broken down by;
    `accepted` are the answers in free text of which one is enough (match). `shown` are the columns that the rubric
    wants, and `rubric` is its hash (judged). `options` are those of multiple choice as they are shown, `answer` the
    letter of the right one, `permuted` whether the seed decided their order. `instructions` are those that a program
    can check, each with its `id` and its parameters. `tests` are the columns that hold the tests of a program (code).
    """

    task: str
    kind: str
    id: str
    question: str
    answer: str | None = None
    reasoning: str = ""
    label: str | None = None
    mode: str | None = None
    grade: str | None = None
    attempt: str | None = None
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    shown: Mapping[str, Any] = field(default_factory=dict)
    rubric: str | None = None
    options: tuple[str, ...] = ()
    permuted: bool = False
    instructions: tuple[Mapping[str, Any], ...] = ()
    tests: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.task, self.id

    @property
    def guarded(self) -> bool:
        """Whether the answer must not be given away."""
        return self.kind == "tutor" and self.mode != "explain"

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value not in (None, "", {}, (), False)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Item:
        given = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        lists = ("accepted", "options", "instructions")
        return cls(**given | {name: tuple(given.get(name, ())) for name in lists})
