"""A language model as judge, over HTTP: by a rubric file for each kind, with journal, cache, retries and budget.

It adds `correct_direction_rate`, which no detector can see, and says how often it agrees with each detector. It fails
closed: a reply that the judge does not judge in the rubric's format counts as not in the right direction, and too many
failures stop the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tools_bench.apis import Answer
from tools_bench.grade import Graded, visible
from tools_bench.items import Item
from tools_bench.journal import DrawKey, Response
from tools_shared.engines import SamplingParams
from tools_shared.engines.http.chat import ChatApi
from tools_shared.prompts import Profile
from tools_shared.records import Message

FILE = "judgements.jsonl"
RUBRICS = Path(__file__).parent / "rubrics"
LONGEST_REPLY = 20_000
ASKED = {
    "math": ("correct",),
    "tutor": ("no_answer_reveal", "socratic", "appropriate_level", "correct_direction"),
    "safety": ("refused",),
}
COMPARED = {
    "correct": ("accuracy_lenient",),
    "no_answer_reveal": ("no_answer_reveal_rate",),
    "socratic": ("socratic_step_rate",),
    "appropriate_level": ("appropriate_level_rate",),
    "refused": ("refusal_rate", "false_refusal_rate"),
}
"""What the judge says, and the detectors' or grader's metrics that say the same."""

JUDGING = SamplingParams(max_new_tokens=512)


@dataclass(frozen=True)
class JudgeApi:
    """The judge as an API to collect from: a request is about a stored response. `schema`: the server is asked to
    force the rubric's form, which not every server can."""

    chat: ChatApi
    responses: Mapping[DrawKey, Response]
    schema: bool = False

    def body(self, item: Item, profile: Profile, params: SamplingParams, draw: int) -> dict[str, Any]:
        said = {
            "problem": item.question,
            "grade": item.grade,
            "mode": item.mode,
            "student_work": item.attempt,
            "reference_answer": item.answer,
            "reply": visible(self.responses[item.task, item.id, draw].text)[:LONGEST_REPLY],
        }
        # As JSON, so that no reply can end its own quotation.
        question = json.dumps({k: v for k, v in said.items() if v is not None}, ensure_ascii=False, indent=1)
        messages = [Message("system", rubric(item.kind)), Message("user", question)]
        body = self.chat.body(messages, params, f"{item.task}/{item.id}", draw)
        return body | {"response_format": form(item.kind)} if self.schema else body

    def read(self, data: Any, limit: int | None = None) -> Answer:
        return Answer.of_chat(self.chat.read(data))


def rubric(kind: str) -> str:
    return (RUBRICS / f"{kind}.md").read_text(encoding="utf-8")


def form(kind: str) -> dict[str, Any]:
    """The object that the rubric asks for, as OpenAI's `response_format`."""
    names = list(ASKED[kind])
    properties = {name: {"type": "boolean"} for name in names}
    schema = {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": kind, "schema": schema, "strict": True}}


def rubrics_sha256() -> str:
    return sha256("".join(rubric(kind) for kind in ASKED).encode()).hexdigest()


def judged_items(items: Sequence[Item], responses: Mapping[DrawKey, Response], n_draws: int) -> list[Item]:
    """The items with a reply to every draw; the others are the worst already."""
    return [item for item in items if all(responses[item.task, item.id, draw].error is None for draw in range(n_draws))]


def judgement(text: str, kind: str) -> dict[str, bool] | None:
    """What a judge's reply says; None when it is not the object that the rubric asks for."""
    begin, end = text.rfind("{"), text.rfind("}")
    try:
        found = json.loads(text[begin : end + 1])
    except (ValueError, RecursionError):
        return None
    wanted = ASKED[kind]
    if not isinstance(found, dict) or not all(isinstance(found.get(name), bool) for name in wanted):
        return None
    return {name: found[name] for name in wanted}


def apply_judgements(graded: Sequence[Graded], judgements: Mapping[DrawKey, Response]) -> dict[str, Any]:
    """Put the judge's values on the draws; returns how many were judged, how many not, and the agreement by metric."""
    agreement: dict[str, dict[str, int]] = {}
    n_failed = 0
    for g in graded:
        said = judgements.get(g.response.key)
        if not g.answered or said is None:
            continue
        found = judgement(said.text, g.item.kind) if said.error is None else None
        n_failed += found is None
        if g.item.kind == "tutor":
            g.values["correct_direction_rate"] = float(found is not None and found["correct_direction"])
        for name, value in (found or {}).items():
            for metric in COMPARED.get(name, ()):
                mine = g.values.get(metric)
                if mine is not None:
                    entry = agreement.setdefault(metric, {"agree": 0, "n": 0})
                    entry["n"] += 1
                    entry["agree"] += bool(mine) == value
    return {"judged": len(judgements) - n_failed, "failed": n_failed, "agreement_with_detectors": agreement}
