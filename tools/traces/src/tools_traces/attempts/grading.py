"""From a completion to a graded attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from tools_shared.engines import Completion, Draw
from tools_shared.errors import ToolError
from tools_shared.evaluation import grade, opened
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_shared.rewards import Reward, load_rewards, reward_arguments, reward_rows
from tools_traces.attempts.journal import Attempt
from tools_traces.config import TracesConfig


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
            verdict="pruned" if completion.pruned else str(result.verdict),
            verified=not completion.pruned and result.correct and result.well_formed and result.has_thinking,
            finish_reason=completion.finish_reason,
            n_tokens=completion.n_tokens or 0,
            token_ids=completion.token_ids if with_token_ids else None,
            pruned=asdict(completion.pruned) if completion.pruned else None,
            steps=completion.steps,
            confidence=completion.confidence,
        )

    return graded


def accepter(
    reward: Reward, least: float, profile: Profile, with_token_ids: bool
) -> Callable[[Problem, Prompt, Draw, Completion], Attempt]:
    """What grades by a reward: verified is what it gives `least` or more. A completion that it gives nothing, such as a
    judgement that failed, is not."""
    by_answer = grader(profile, with_token_ids)

    def graded(problem: Problem, prompt: Prompt, draw: Draw, completion: Completion) -> Attempt:
        if completion.pruned:
            return by_answer(problem, prompt, draw, completion)
        rows = reward_rows([problem], [prompt.text], [prompt.opens_thinking])
        ids = [completion.token_ids] if completion.token_ids else None
        (score,) = reward(**reward_arguments(rows, [completion.text], ids))
        verdict = "unjudged" if score is None else "accepted" if score >= least else "declined"
        attempt = by_answer(problem, prompt, draw, completion)
        return replace(attempt, verdict=verdict, verified=verdict == "accepted", score=score)

    return graded


def load_accepted(config: TracesConfig, profile: Profile) -> Reward | None:
    """The reward of `--accept`; raises ToolError for one that is none, or several."""
    if config.acceptance is None:
        return None
    rewards = load_rewards([config.acceptance[0]], profile, length_limit=config.max_new_tokens)
    if len(rewards) != 1:
        raise ToolError(f"--accept {config.accept}: is {len(rewards)} rewards; name one of them")
    if rewards[0].is_relative:
        raise ToolError(
            f"--accept {config.accept}: compares the replies of a group, and an attempt is graded by itself; take a "
            "rubric with score or criteria"
        )
    return rewards[0]
