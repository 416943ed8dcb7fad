"""How a word problem is told: one running quantity, and moves that change it.

A move says a sentence and computes one or two steps with the numbers in it. Every number that the story
speaks of stays in 2..200, so that plurals are right and a very small model can learn the arithmetic; a
story whose numbers leave that range raises `Unfit`, and is told again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

LOWEST, HIGHEST = 2, 200
FACTORS = {2: "twice", 3: "three times", 4: "four times"}
PARTS = {3: "a third", 4: "a quarter", 5: "a fifth"}
PERCENTS = {10: 10, 5: 20, 4: 25}
BILLS = (20, 50, 100, 150, 200)


class Unfit(Exception):
    """The numbers sampled so far cannot be continued."""


@dataclass
class Story:
    """A problem while it is being told: `value` is the running quantity, `lines` the reasoning so far."""

    rng: Random
    words: dict[str, str]
    unit: str
    value: int = 0
    previous: int | None = None
    sentences: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def draw(self, low: int, high: int) -> int:
        if high < low:
            raise Unfit
        return self.rng.randint(low, high)

    def say(self, texts: tuple[str, ...], **numbers: object) -> None:
        self.sentences.append(self.rng.choice(texts).format(**self.words, **numbers))

    def step(self, left: int, sign: str, right: int, unit: str | None = None) -> int:
        """Compute one step and write its line; `sign` is one of + - * /, and / must leave no rest."""
        if sign == "/" and left % right:
            raise Unfit
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[sign]
        if not LOWEST <= result <= HIGHEST:
            raise Unfit
        self.lines.append(f"{left}{sign}{right}={result} {unit or self.unit}.")
        return result


@dataclass(frozen=True)
class Move:
    """A sentence of a story and the `n_steps` computations that it asks for."""

    n_steps: int
    tell: Callable[[Story], None]


def given(*texts: str, low: int = 5, high: int = 60) -> Move:
    """The running quantity is stated: {k}."""

    def tell(story: Story) -> None:
        story.value = story.draw(low, high)
        story.say(texts, k=story.value)

    return Move(0, tell)


def given_product(*texts: str, most: tuple[int, int] = (9, 12)) -> Move:
    """The running quantity is {a} times {b}."""

    def tell(story: Story) -> None:
        a, b = story.draw(2, most[0]), story.draw(2, most[1])
        story.say(texts, a=a, b=b)
        story.value = story.step(a, "*", b)

    return Move(1, tell)


def given_sum(*texts: str, high: int = 50) -> Move:
    """The running quantity is {a} and {b} together."""

    def tell(story: Story) -> None:
        a, b = story.draw(3, high), story.draw(3, high)
        story.say(texts, a=a, b=b)
        story.value = story.step(a, "+", b)

    return Move(1, tell)


def more(*texts: str, high: int = 50) -> Move:
    """{k} are added."""

    def tell(story: Story) -> None:
        k = story.draw(2, min(high, HIGHEST - story.value))
        story.say(texts, k=k)
        story.value = story.step(story.value, "+", k)

    return Move(1, tell)


def fewer(*texts: str, high: int = 50) -> Move:
    """{k} are taken away."""

    def tell(story: Story) -> None:
        k = story.draw(2, min(high, story.value - LOWEST))
        story.say(texts, k=k)
        story.value = story.step(story.value, "-", k)

    return Move(1, tell)


def _product(sign: str, texts: tuple[str, ...], most: tuple[int, int]) -> Move:
    def tell(story: Story) -> None:
        a, b = story.draw(2, most[0]), story.draw(2, most[1])
        story.say(texts, a=a, b=b)
        story.value = story.step(story.value, sign, story.step(a, "*", b))

    return Move(2, tell)


def more_product(*texts: str, most: tuple[int, int] = (9, 12)) -> Move:
    """{a} times {b} are added."""
    return _product("+", texts, most)


def fewer_product(*texts: str, most: tuple[int, int] = (6, 9)) -> Move:
    """{a} times {b} are taken away."""
    return _product("-", texts, most)


def multiplied(*texts: str, low: int = 2, high: int = 6, unit: str | None = None) -> Move:
    """The quantity {k} times over; {times} is the same in words where there is one (2, 3 and 4)."""

    def tell(story: Story) -> None:
        k = story.draw(low, min(high, HIGHEST // story.value))
        story.say(texts, k=k, times=FACTORS.get(k, ""))
        story.value = story.step(story.value, "*", k, unit)

    return Move(1, tell)


def halved(*texts: str, unit: str | None = None) -> Move:
    """One half goes, the other stays."""

    def tell(story: Story) -> None:
        story.say(texts)
        story.value = story.step(story.value, "/", 2, unit)

    return Move(1, tell)


def divided(*texts: str, low: int = 3, high: int = 10, unit: str | None = None) -> Move:
    """The quantity falls into {k} equal shares; {others} is one person fewer."""

    def tell(story: Story) -> None:
        k = _divisor(story, range(low, high + 1))
        story.say(texts, k=k, others=k - 1)
        story.value = story.step(story.value, "/", k, unit)

    return Move(1, tell)


def divided_then_fewer(*texts: str) -> Move:
    """Each of {k} equal shares then loses {m}."""

    def tell(story: Story) -> None:
        k = _divisor(story, range(3, 11))
        share = story.step(story.value, "/", k)
        m = story.draw(2, share - LOWEST)
        story.say(texts, k=k, m=m)
        story.value = story.step(share, "-", m)

    return Move(2, tell)


def _divisor(story: Story, candidates: range) -> int:
    fitting = [k for k in candidates if story.value % k == 0 and story.value // k >= LOWEST]
    if not fitting:
        raise Unfit
    return story.rng.choice(fitting)


def part_taken(*texts: str) -> Move:
    """A {part} (a third, 25%, ...) is taken away."""

    def tell(story: Story) -> None:
        k = _divisor(story, range(3, 11))
        words = [words for words in (PARTS.get(k), f"{PERCENTS[k]}%" if k in PERCENTS else None) if words]
        if not words:
            raise Unfit
        story.say(texts, part=story.rng.choice(words))
        story.value = story.step(story.value, "-", story.step(story.value, "/", k))

    return Move(2, tell)


def short_of(*texts: str, targets: tuple[int, ...] = ()) -> Move:
    """How much is missing to a whole of {k}; `targets` are the wholes to choose from (default: any)."""

    def tell(story: Story) -> None:
        if targets:
            wholes = [k for k in targets if k >= story.value + LOWEST]
            k = wholes[0] if wholes else story.draw(1, 0)
        else:
            k = story.value + story.draw(LOWEST, min(60, HIGHEST - story.value))
        story.say(texts, k=k)
        story.value = story.step(k, "-", story.value)

    return Move(1, tell)


def with_another(*texts: str, sign: str) -> Move:
    """Somebody else has {k} more or fewer; both together are asked for."""

    def tell(story: Story) -> None:
        k = story.draw(2, min(30, story.value - LOWEST))
        story.say(texts, k=k)
        other = story.step(story.value, sign, k)
        story.value = story.step(story.value, "+", other)

    return Move(2, tell)
