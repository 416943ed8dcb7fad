"""Conversations that use the calculator, to learn calls from: python configs/calculator/conversations.py MODEL ROWS.

Rows in the shape of GSM8K whose solution has lines such as `3*4=12 apples`; others are left out and counted. Each
computation becomes a call, its result the answer to it, and the last turn gives the final answer in the tags of the
model's profile. JSON lines with `messages`, for `tools-sft --loss-on assistant`; the system message is the one that
`tools-grpo --environment configs/calculator/environment.py:Calculator` writes.
"""

import json
import re
import sys
from pathlib import Path

from tools_grpo.environments.calls import ANSWER, ANSWERED, CLOSE, OPEN, described
from tools_grpo.environments.load import load_world
from tools_shared.models import choose_profile
from tools_shared.models.load import load_tokenizer
from tools_shared.models.resolve import resolve
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.sources import read_problems

ENVIRONMENT = f"{Path(__file__).parent / 'environment.py'}:Calculator"
STEP = re.compile(r"^([\d+*/(). -]+)=\s*(\d+(?:\.\d+)?)", re.MULTILINE)


def conversation(problem: Problem, profile: Profile) -> list[dict[str, str]] | None:
    """The turns; None where the solution is no list of computations that end in the answer."""
    steps = STEP.findall(problem.reasoning)
    if not steps or steps[-1][1] != problem.answer:
        return None
    turns = [("system", profile.system), ("user", problem.question)]
    for expression, result in steps:
        call = f'{OPEN}calculate("{expression.strip()}"){CLOSE}'
        turns += [("assistant", call), ("user", f"{ANSWER}\n{result}\n{ANSWERED}")]
    turns.append(("assistant", profile.completion(f"{steps[-1][0].strip()}={steps[-1][1]}", problem.answer)))
    return [{"role": role, "content": content} for role, content in turns]


def main(model: str, rows: str) -> None:
    ref = resolve(model)
    world = load_world(ENVIRONMENT, ())
    profile = described(load_tokenizer(ref), choose_profile(ref, None), world.schemas)
    problems = read_problems(rows).items
    made = [(problem.id, conversation(problem, profile)) for problem in problems]
    for name, messages in made:
        if messages is not None:
            print(json.dumps({"id": name, "messages": messages}, ensure_ascii=False))
    print(f"{len(made)} problems, {sum(messages is not None for _, messages in made)} written", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:3])
