"""A training set with test questions in it, labelled, for `demo://contaminated?split=train&size=N`.

Real training sets leak like this: some rows repeat a test question word for word, some tell it in other words, and
some only share its template, with numbers and an answer of their own, and ought to stay. Row `index` is sampled from
`Random(f"{seed}:contaminated:{index}")`; the test questions are those of `demo://problems?split=test&size=512&seed=1`,
with the same `longest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

from tools_shared.demo.problems import LONGEST, generate, owner
from tools_shared.errors import ToolError

N_TESTS = 512
TEST_SEED = 1
WEIGHTS = {"clean": 85, "copy": 4, "rewording": 6, "twin": 5}
_WORDS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_PHRASES = (
    ("How many", ("What number of", "Can you work out how many", "Tell me how many")),
    ("buys", ("purchases", "gets", "picks up")),
    ("brings", ("comes with", "carries in", "turns up with")),
    ("plants", ("puts in", "sets out")),
    ("gives", ("hands", "passes")),
    ("loses", ("mislays", "no longer finds")),
    ("years old", ("years of age",)),
    ("was born", ("came into the world",)),
    ("shared equally among", ("split evenly between", "divided fairly between")),
    ("dollars each", ("dollars apiece",)),
    ("has to", ("needs to", "must")),
    ("has", ("owns", "holds")),
    ("fewer", ("less",)),
    ("have together", ("own in total", "have between them")),
    ("half of", ("one half of", "50% of")),
    ("twice", ("two times",)),
    ("Then", ("After that,", "Next,")),
    ("starts the week with", ("begins the week holding",)),
    ("pay", ("spend", "hand over")),
    ("bad", ("spoiled", "rotten")),
)
_NUMBER = re.compile(r"\d+")
_STEP = re.compile(r"^(\d+)([-+*/])(\d+)=(\d+)(.*)$")


def contaminated(size: int, seed: int = 0, longest: int = LONGEST) -> Iterator[dict[str, Any]]:
    """Rows as `demo://problems` has them, with `label` (clean, copy, rewording, twin) and `test_index` (None if clean).

    The first two of the three planted kinds are contamination; a twin is not.
    """
    return (row(index, seed, longest) for index in range(size))


def row(index: int, seed: int = 0, longest: int = LONGEST) -> dict[str, Any]:
    """Row `index`, which does not depend on the others."""
    rng = Random(f"{seed}:contaminated:{index}")
    label = rng.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
    if label == "clean":
        return generate(index, "train", seed, longest) | {"label": label, "test_index": None}
    while True:
        number = rng.randrange(N_TESTS)
        made = _planted(label, generate(number, "test", TEST_SEED, longest), rng)
        if made:
            return made | {"label": label, "test_index": number}


def _planted(label: str, test: dict[str, Any], rng: Random) -> dict[str, Any] | None:
    if label == "copy":
        return test
    if label == "rewording":
        question = reword(test["question"], rng)
        return None if question == test["question"] else test | {"question": question}
    return twin(test, rng)


def reword(question: str, rng: Random) -> str:
    """The question with other words in many places and its small numbers written out; the same answer."""
    for phrase, others in _PHRASES:
        if rng.random() < 0.8:
            question = re.sub(rf"\b{phrase}\b", rng.choice(others), question)
    return _NUMBER.sub(lambda found: _written(found[0], rng), question)


def _written(number: str, rng: Random) -> str:
    return _WORDS[int(number)] if int(number) < len(_WORDS) and rng.random() < 0.5 else number


def twin(test: dict[str, Any], rng: Random) -> dict[str, Any] | None:
    """The same story with other numbers and the answer that follows from them; None where they do not work out."""
    numbers = _NUMBER.findall(test["question"])
    if len(set(numbers)) != len(numbers):
        return None
    for _ in range(20):
        new = {old: str(int(old) + rng.choice((-6, -4, -2, 2, 4, 6, 10))) for old in numbers if int(old) > 2}
        answer = _solve(test["answer"], new) if all(int(value) > 2 for value in new.values()) else None
        question = _with_numbers(test["question"], new)
        if answer and question != test["question"] and owner(question) == "train":
            return test | {"question": question, "answer": answer}
    return None


def _with_numbers(question: str, new: dict[str, str]) -> str:
    return _NUMBER.sub(lambda found: new.get(found[0], found[0]), question)


def _solve(answer: str, new: dict[str, str]) -> str | None:
    """Every step computed again with the new numbers; None where one is no longer a positive whole number, or where a
    result is also a number of the question, so that it cannot be told which of the two a step means."""
    lines, known = [], dict(new)
    for line in answer.splitlines()[:-1]:
        step = _STEP.fullmatch(line)
        if step is None:
            return None
        left, sign, right, result, unit = step.groups()
        if result in known:
            return None
        value = _compute(int(known.get(left, left)), sign, int(known.get(right, right)))
        if value is None:
            return None
        known[result] = str(value)
        lines.append(f"{known.get(left, left)}{sign}{known.get(right, right)}={value}{unit}")
    return "\n".join([*lines, f"#### {value}"])


def _compute(a: int, sign: str, b: int) -> int | None:
    if sign == "/":
        return a // b if b and a % b == 0 and a else None
    value = a + b if sign == "+" else a - b if sign == "-" else a * b
    return value if value > 0 else None


def check_split(split: str) -> None:
    """Raises ToolError for any split but train: there is no contaminated test set."""
    if split != "train":
        raise ToolError(f"demo://contaminated has no split '{split}': use train")
