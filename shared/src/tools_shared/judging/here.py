"""Asking a judge that is loaded in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tools_shared.costs.meter import during
from tools_shared.judging.questions import JUDGING, Question, messages_of
from tools_shared.judging.rubric import Rubric
from tools_shared.judging.stated import StatedVerdict, stated, token_texts
from tools_shared.judging.verdicts import no_verdict, verdict

if TYPE_CHECKING:
    from tools_shared.engines import Completion, Engine, SamplingParams


@dataclass(frozen=True)
class JudgedHere:
    """The verdict on one question and what it cost; `why` says why there is none."""

    verdict: StatedVerdict | None
    why: str
    tokens_in: int = 0
    tokens_out: int = 0


def judged(
    engine: Engine,
    rubric: Rubric,
    questions: Sequence[Question],
    params: SamplingParams,
    check_budget: Callable[[int], None],
) -> list[JudgedHere]:
    """Each question judged, in order. One that does not fit into the judge's context with its reply is not asked.

    `check_budget` is given the most tokens that all of them together can cost, and may raise.
    """
    from tools_shared.prompts import PROFILES, render_prompt

    plain = replace(PROFILES["boxed"], template_options={})
    prompts = [render_prompt(engine.tokenizer, plain, messages_of(rubric, question)) for question in questions]
    sizes = [len(prompt.token_ids) for prompt in prompts]
    limit = engine.context_length
    fits = [i for i, size in enumerate(sizes) if limit is None or size + params.max_new_tokens <= limit]
    check_budget(sum(sizes[i] + params.max_new_tokens for i in fits))
    with during(JUDGING):
        keys = [f"{rubric.name}@{questions[i].draw}" for i in fits]
        drawn = dict(zip(fits, engine.generate([prompts[i] for i in fits], params, keys=keys), strict=True))
    too_long = "a prompt of {} tokens does not fit into the judge's context of {} with the reply's {}"
    return [
        _read(engine, rubric, question, size, drawn[i][0])
        if i in drawn
        else JudgedHere(None, too_long.format(size, limit, params.max_new_tokens))
        for i, (question, size) in enumerate(zip(questions, sizes, strict=True))
    ]


def _read(engine: Engine, rubric: Rubric, question: Question, n_prompt: int, completion: Completion) -> JudgedHere:
    costs = n_prompt, completion.n_tokens or 0
    said = verdict(completion.text, rubric, question.criteria)
    if said is None:
        return JudgedHere(None, no_verdict(completion.text), *costs)
    tokens = token_texts(engine.tokenizer, completion) if completion.logprobs else []
    return JudgedHere(StatedVerdict(said, stated(tokens, completion.logprobs or (), said)), "", *costs)
