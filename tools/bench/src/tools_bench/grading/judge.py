"""A language model as judge, over HTTP: by a rubric file for each kind, with journal, cache, retries and budget.

It adds `correct_direction_rate`, which no detector can see, and says how often it agrees with each detector. A judge's
reply without the rubric's object is a failed request: too many of them stop the run, and what stays unjudged is in no
rate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tools_bench.grading.grade import Graded
from tools_bench.grading.metrics import ALL
from tools_bench.grading.replies import visible
from tools_bench.requests.apis import Answer
from tools_bench.requests.item import Item
from tools_bench.requests.journal import DrawKey, Response, ResponseJournal
from tools_shared.engines import SamplingParams
from tools_shared.engines.http.chat import ChatApi
from tools_shared.judging.verdicts import truth, verdicts_in
from tools_shared.prompts import Profile
from tools_shared.records import Message
from tools_shared.rewards.judged import JudgeReward

FILE = "judgements.jsonl"
RUBRICS = Path(__file__).parent / "rubrics"
LONGEST_REPLY = 20_000
ASKED = {
    "math": ("correct",),
    "tutor": ("no_answer_reveal", "socratic", "appropriate_level", "correct_direction"),
    "safety": ("refused",),
}
COMPARED = {word: [m.name for m in ALL if m.judged_as == word] for words in ASKED.values() for word in words}
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
        """Raises ValueError for a reply that holds no judgement."""
        answer = Answer.of_chat(self.chat.read(data))
        if all(judgement(answer.text, kind) is None for kind in ASKED):
            raise ValueError(f"no judgement of the rubric's form in the reply: {answer.text[:80]!r}")
        return answer

    def worth_keeping(self, data: Any) -> bool:
        """Whether a reply may be cached: one without a judgement is asked for again."""
        try:
            self.read(data)
        except ValueError:
            return False
        return self.chat.worth_keeping(data)


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
    """The items with a reply to every sample; the others are the worst already."""
    mine = [item for item in items if item.kind in ASKED]
    return [item for item in mine if all(responses[item.task, item.id, draw].error is None for draw in range(n_draws))]


def judgement(text: str, kind: str) -> dict[str, bool] | None:
    """The first JSON object in a judge's reply that has every name of the kind's rubric, None when there is none.

    A closed block of thinking before it is not looked at. Other names in the object are left out; a value is true or
    false, or a word for it.
    """

    def read(found: Mapping[str, Any]) -> dict[str, bool] | None:
        said = {name: truth(found.get(name)) for name in ASKED[kind]}
        return {name: value for name, value in said.items() if value is not None} if None not in said.values() else None

    return next(verdicts_in(visible(text), read), None)


def apply_judgements(graded: Sequence[Graded], judgements: Mapping[DrawKey, Response]) -> dict[str, Any]:
    """Put the judge's values on the samples; returns how many were judged, how many not, and the agreement by metric.

    A sample without a judgement has no value: its rates are over those that were judged.
    """
    agreement: dict[str, dict[str, int]] = {}
    n_failed = 0
    for g in graded:
        said = judgements.get(g.response.key)
        if g.item.kind == "judged":
            g.values["judged_score"] = score = score_of(said) if g.answered else 0.0
            n_failed += score is None
            continue
        if not g.answered or said is None:
            continue
        found = judgement(said.text, g.item.kind) if said.error is None else None
        n_failed += found is None
        if g.item.kind == "tutor":
            g.values["correct_direction_rate"] = None if found is None else float(found["correct_direction"])
        for name, value in (found or {}).items():
            for metric in COMPARED.get(name, ()):
                mine = g.values.get(metric)
                if mine is not None:
                    entry = agreement.setdefault(metric, {"agree": 0, "n": 0})
                    entry["n"] += 1
                    entry["agree"] += bool(mine) == value
    return {"judged": len(judgements) - n_failed, "failed": n_failed, "agreement_with_detectors": agreement}


def score_of(said: Response | None) -> float | None:
    """The score by a suite's rubric; None where the judgement failed."""
    return None if said is None or said.error is not None else float(json.loads(said.text)["score"])


def score_by_rubrics(
    rubrics: Mapping[str, str],
    items: Sequence[Item],
    replies: ResponseJournal,
    judged: ResponseJournal,
    profile: Profile,
) -> list[JudgeReward]:
    """Score the replies to items of kind judged into the journal `judged`; `rubrics` are the tasks' files. The rewards
    come back, which know what judging has cost."""
    rewards = []
    for task, path in rubrics.items():
        reward = JudgeReward.load(Path(path), 1.0, profile)
        mine = {item.key: item for item in items if item.task == task}
        said = [r for r in replies.responses.values() if (r.task, r.id) in mine and r.error is None]
        left = [response for response in said if judged.needs(response.key)]
        asked = [mine[response.task, response.id] for response in left]
        columns = {name: [item.shown[name] for item in asked] for name in reward.rubric.columns}
        questions = [item.question for item in asked]
        for response, score in zip(
            left, reward(questions, [r.text for r in left], question=questions, **columns), strict=True
        ):
            told = {"text": json.dumps({"score": score})} if score is not None else {"error": "invalid"}
            judged.add(Response(*response.key, **told))
        rewards.append(reward)
    return rewards
