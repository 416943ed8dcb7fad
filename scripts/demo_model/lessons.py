"""What the demo model learns in its pretraining: to calculate, and to answer in plain prose.

Word problems of the split `pretrain` with at most `longest` steps are answered in chat format, under no system
message, a generic one, or one of the profiles'; an answer never carries a profile's tags. Sums without a
story make up the rest. So the model that comes out can do some of the work, and knows neither the answer
format nor the long problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tools_shared.demo.problems import generate
from tools_shared.demo.story import HIGHEST, LOWEST
from tools_shared.prompts import PROFILES

GENERIC = (
    "You are a helpful assistant.",
    "Answer the question.",
    "You are good at math. Think before you answer.",
    "Read the problem and explain how you solve it.",
)
OPENINGS = ("", "", "Let us see. ", "We go step by step. ", "First we compute. ")
CLOSINGS = ("The answer is {}.", "So the answer is {}.", "The answer is {}.")
DRILLS = ("Compute {}.", "What is {}?", "{}=")


@dataclass(frozen=True)
class Lesson:
    """One conversation; `system` may be empty, which means that there is none."""

    system: str
    user: str
    assistant: str

    def messages(self) -> list[dict[str, str]]:
        turns = [("system", self.system), ("user", self.user), ("assistant", self.assistant)]
        return [{"role": role, "content": content} for role, content in turns if content]


def lesson(index: int, drills: float, longest: int, seed: int = 0) -> Lesson:
    """Lesson `index`; the share `drills` of them are sums, the others word problems of at most `longest` steps."""
    rng = Random(f"{seed}:lesson:{index}")
    if rng.random() < drills:
        return _drill(rng)
    row = generate(rng.randrange(10**9), "pretrain", seed)
    while row["n_steps"] > longest:
        row = generate(rng.randrange(10**9), "pretrain", seed)
    *lines, last = row["answer"].split("\n")
    prose = " ".join(lines)
    closing = rng.choice(CLOSINGS).format(last.removeprefix("#### "))
    return Lesson(_system(rng), row["question"], f"{rng.choice(OPENINGS)}{prose} {closing}")


def _system(rng: Random) -> str:
    """No system message, a generic one, or that of a profile, a third each."""
    kind = rng.randrange(3)
    if kind == 0:
        return ""
    return rng.choice(GENERIC) if kind == 1 else rng.choice([profile.system for profile in PROFILES.values()])


def _drill(rng: Random) -> Lesson:
    """A handful of sums in one conversation, so that most of its tokens are arithmetic."""
    sums = [_sum(rng) for _ in range(rng.randint(4, 12))]
    asked = ", ".join(question for question, _ in sums)
    return Lesson("", rng.choice(DRILLS).format(asked), "\n".join(f"{q}={a}" for q, a in sums))


def _sum(rng: Random) -> tuple[str, int]:
    """A question such as `12+30` with its answer, in the range of the stories."""
    sign = rng.choice("+-*/")
    if sign in "+-":
        total = rng.randint(2 * LOWEST, HIGHEST)
        part = rng.randint(LOWEST, total - LOWEST)
        return (f"{total - part}+{part}", total) if sign == "+" else (f"{total}-{part}", total - part)
    small = rng.randint(2, 12)
    other = rng.randint(LOWEST, min(60, HIGHEST // small))
    return (f"{small}*{other}", small * other) if sign == "*" else (f"{small * other}/{small}", other)
