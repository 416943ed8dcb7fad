"""An endless supply of word problems in GSM8K's row shape, for `demo://problems?split=train&size=N`.

Item `index` of a split is sampled from `Random(f"{seed}:{split}:{index}")`, so it does not depend on which items were
sampled before. Splits cannot share a question: each question belongs to the one split that its hash names,
and an item is redrawn until it has one of its own. `longest=2` leaves out the problems of more than two steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random
from typing import Any

from tools_shared.demo.counts import COLLECTION, CROWD, FACTORY, GARDEN, SHARING
from tools_shared.demo.family import BOYS, GIRLS, Family
from tools_shared.demo.measures import AGES, DISTANCE, EARNING, READING, SHOPPING
from tools_shared.demo.story import Move, Story, Unfit
from tools_shared.errors import ToolError

FAMILIES = (COLLECTION, SHOPPING, EARNING, SHARING, DISTANCE, AGES, FACTORY, CROWD, READING, GARDEN)
SPLITS = ("train", "test", "validation", "pretrain")
STEP_WEIGHTS = {1: 3, 2: 5, 3: 5, 4: 4, 5: 3, 6: 2}
LONGEST = max(STEP_WEIGHTS)
DISTRACTION = 0.3
DISTRACTORS = (
    "{hero} knows {k} songs.",
    "It is {k} degrees outside.",
    "{hero} lives at number {k} on Oak Street.",
    "The bus to town takes {k} minutes.",
    "{hero} has {k} classmates.",
    "The nearest school has {k} rooms.",
)
PRONOUNS = (
    {"he": "he", "He": "He", "him": "him", "his": "his"},
    {"he": "she", "He": "She", "him": "her", "his": "her"},
)


def generate(index: int, split: str = "train", seed: int = 0, longest: int = LONGEST) -> dict[str, Any]:
    """Item `index` of a split: `question`, `answer` (a line a step, then `#### N`), `family`, `n_steps`.

    `n_steps` is `longest` or fewer. Raises ToolError for a split or a length that does not exist.
    """
    if split not in SPLITS:
        raise ToolError(f"demo://problems has no split '{split}': use {', '.join(SPLITS)}")
    if longest not in STEP_WEIGHTS:
        raise ToolError(f"a demo problem has 1 to {LONGEST} steps; 'longest' cannot be {longest}")
    rng = Random(f"{seed}:{split}:{index}")
    weights = {steps: weight for steps, weight in STEP_WEIGHTS.items() if steps <= longest}
    n_steps = rng.choices(tuple(weights), tuple(weights.values()))[0]
    family = rng.choice(FAMILIES)
    while True:
        story = tell(rng, family, n_steps)
        question = " ".join(story.sentences)
        if owner(question) == split:
            answer = "\n".join([*story.lines, f"#### {story.value}"])
            return {"question": question, "answer": answer, "family": family.name, "n_steps": n_steps}


def problems(split: str, size: int, seed: int = 0, longest: int = LONGEST) -> Iterator[dict[str, Any]]:
    """The first `size` items of a split; raises ToolError for a split or a length that does not exist."""
    return (generate(index, split, seed, longest) for index in range(size))


def owner(question: str) -> str:
    """The split that a question belongs to, whatever seed or index sampled it."""
    return SPLITS[hashlib.sha256(question.encode()).digest()[0] % len(SPLITS)]


def tell(rng: Random, family: Family, n_steps: int) -> Story:
    """A story of the family with exactly `n_steps` computations, told again until its numbers fit."""
    while True:
        story = _begin(rng, family)
        try:
            for move in _plot(rng, family, n_steps):
                move.tell(story)
        except Unfit:
            continue
        if len(story.lines) == n_steps:
            return _finish(story, family)


def _begin(rng: Random, family: Family) -> Story:
    names = [rng.choice(BOYS), rng.choice(GIRLS)]
    hero = rng.randrange(2)
    chosen = {key: rng.choice(values) for key, values in family.words.items()}
    words = {**chosen, **PRONOUNS[hero], "hero": names[hero], "friend": names[1 - hero], "now": names[hero]}
    return Story(rng, words, family.unit.format(**words))


def _plot(rng: Random, family: Family, n_steps: int) -> list[Move]:
    """A start, moves that are not repeated, and in half of the stories an end, of at most `n_steps` in all."""
    plot = [rng.choice([start for start in family.starts if start.n_steps <= n_steps])]
    left = n_steps - plot[0].n_steps
    ends = [end for end in family.ends if end.n_steps <= left] if rng.random() < 0.5 else []
    end = [rng.choice(ends)] if ends else []
    left -= sum(move.n_steps for move in end)
    moves = list(family.moves)
    while left and moves:
        move = moves.pop(rng.randrange(len(moves)))
        if move.n_steps <= left:
            plot.append(move)
            left -= move.n_steps
    return plot + end


def _finish(story: Story, family: Family) -> Story:
    """Add the question where no end has asked one, a distractor now and then, and the capital letters."""
    if not story.sentences[-1].endswith("?"):
        story.say(family.ask)
    if family.name != "ages" and story.rng.random() < DISTRACTION:
        text = story.rng.choice(DISTRACTORS).format(**story.words, k=story.rng.randint(5, 40))
        story.sentences.insert(story.rng.randint(1, len(story.sentences) - 1), text)
    story.sentences = [sentence[0].upper() + sentence[1:] for sentence in story.sentences]
    return story
