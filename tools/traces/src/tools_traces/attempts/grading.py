"""From a completion to a graded attempt."""

from __future__ import annotations

from collections.abc import Callable

from tools_shared.engines import Completion, Draw
from tools_shared.evaluation import grade, opened
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_traces.attempts.journal import Attempt


def grader(profile: Profile, with_token_ids: bool) -> Callable[[Problem, Prompt, Draw, Completion], Attempt]:
    """What grades: verified is what the reward `verified` pays for, and has reasoning to learn from."""

    def graded(problem: Problem, prompt: Prompt, draw: Draw, completion: Completion) -> Attempt:
        result = grade(problem, prompt, completion, profile)
        tag = profile.think[0] if profile.think and opened(prompt, completion, profile) else ""
        return Attempt(
            id=problem.id,
            sample=draw.sample,
            response=tag + completion.text,
            reasoning=result.thinking,
            answer=result.answer,
            verdict=str(result.verdict),
            verified=result.correct and result.well_formed and result.has_thinking,
            finish_reason=completion.finish_reason,
            n_tokens=completion.n_tokens or 0,
            token_ids=completion.token_ids if with_token_ids else None,
        )

    return graded
