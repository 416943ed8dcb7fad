"""Short how-to procedures for `demo://procedures?split=train&size=N`: rows with `goal`, `resources` and `steps`.

Item `index` of a split is sampled from `Random(f"{seed}:procedures:{split}:{index}")`. Splits cannot share a goal: each
belongs to the one split that its hash names. But real training sets hold test rows, and so does this one: about one of
20 rows of `train` repeats a procedure of `split=test&size=N_TESTS&seed=1`, word for word (`label` copy), or with its
goal as a question and its steps in other words (rewording). They have to go; rows with the same template and other
things in it (label clean) have to stay.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from tools_shared.errors import ToolError

SPLITS = ("train", "test")
N_TESTS = 128
TEST_SEED = 1
LABELS = {"clean": 94, "copy": 3, "rewording": 3}


@dataclass(frozen=True)
class Template:
    """`goal`, `resources` and `steps` with blanks, which `words` fill. A step of three parts is there where the blank
    that the first names has one of the values in the second."""

    topic: str
    goal: str
    resources: tuple[str, ...]
    steps: tuple[str | tuple[str, str, str], ...]
    words: Mapping[str, tuple[str, ...]]


TEMPLATES = (
    Template(
        "garden",
        "Plant {plants} in a {pot} on {bottom}",
        ("{plants}", "{pot}", "soil", "water"),
        (
            ("pot", "tin bucket, old basket", "Make small holes in the bottom of the {pot}."),
            "Put {bottom} in the {pot}.",
            "Fill the {pot} with soil up to {gap} from the top.",
            "Set the {plants} into the soil, {apart} apart.",
            "Press the soil around the {plants} with your hands.",
            "Pour water on the {plants} until the soil is wet.",
        ),
        {
            "plants": ("tulips", "roses", "beans", "onions", "herbs", "berries", "peppers", "lilies"),
            "pot": ("clay pot", "tin bucket", "wooden box", "old basket", "stone bowl", "long tray"),
            "bottom": ("a layer of stones", "some broken tiles", "a handful of sand"),
            "gap": ("two fingers", "one hand", "half a finger"),
            "apart": ("one hand", "two hands", "three fingers"),
        },
    ),
    Template(
        "kitchen",
        "Make {drink} for {people} with {leaf}",
        ("{leaf}", "{pan}", "cups", "water"),
        (
            "Boil {water} in the {pan}.",
            "Put {leaf} into a {jug}.",
            "Pour the hot water over the {leaf}.",
            "Wait {time}, then take the {leaf} out.",
            ("drink", "cold tea, cold cocoa", "Put the {jug} in the fridge for an hour."),
            "Stir {sweet} into the {drink}.",
            "Pour the {drink} into the cups for {people}.",
        ),
        {
            "drink": ("hot tea", "cold tea", "mint tea", "hot cocoa", "cold cocoa", "apple punch"),
            "people": ("two friends", "four guests", "a class", "your family", "six players", "a neighbor"),
            "leaf": ("mint leaves", "tea bags", "cocoa", "apple slices"),
            "pan": ("kettle", "pan", "big pot"),
            "water": ("one liter of water", "two liters of water", "a little water"),
            "jug": ("jug", "bottle", "bowl"),
            "time": ("two minutes", "five minutes", "ten minutes"),
            "sweet": ("a spoon of honey", "some sugar", "a drop of lemon"),
        },
    ),
    Template(
        "repair",
        "Fix a {fault} in a {thing} with {patch}",
        ("{tool}", "{patch}", "glue", "a cloth"),
        (
            "Take everything off the {thing}.",
            "Clean the {fault} with a {cloth} cloth.",
            ("thing", "bicycle tire, rubber boat", "Rub the place around the {fault} until it is rough."),
            "Cut {patch} to a size larger than the {fault} with the {tool}.",
            "Spread glue on the {fault} and wait {time}.",
            "Press {patch} on the {fault} for {time}.",
            "Test the {thing} with {test}.",
        ),
        {
            "fault": ("hole", "crack", "tear", "cut"),
            "thing": ("bicycle tire", "rubber boat", "rain coat", "garden hose", "tent", "plastic bucket"),
            "tool": ("scissors", "knife", "small saw"),
            "patch": ("a piece of rubber", "a strip of tape", "a piece of cloth"),
            "cloth": ("dry", "wet", "soft"),
            "time": ("one minute", "three minutes", "ten minutes"),
            "test": ("water", "air", "a short trip"),
        },
    ),
    Template(
        "home",
        "Paint a {thing} {color} with a {brush}",
        ("{color} paint", "{brush}", "{paper}", "old newspaper"),
        (
            "Lay old newspaper under the {thing}.",
            "Rub the {thing} with {paper} until it is smooth.",
            "Wipe the dust off the {thing} with {wipe}.",
            ("thing", "metal gate, iron bench", "Cover the rust with a first coat of gray paint."),
            "Stir the {color} paint with {stick}.",
            "Brush the {color} paint on the {thing} with the {brush}, {way}.",
            "Let the {thing} dry for {time}.",
        ),
        {
            "thing": ("wooden chair", "metal gate", "kitchen table", "iron bench", "book shelf", "garden door"),
            "color": ("red", "blue", "green", "white", "yellow", "black", "brown", "orange"),
            "brush": ("wide brush", "small brush", "roller"),
            "paper": ("sand paper", "a wire brush", "a rough sponge"),
            "wipe": ("a wet cloth", "a dry rag", "a soft towel"),
            "stick": ("a stick", "an old spoon", "a thin board"),
            "way": ("from top to bottom", "from left to right", "in long lines"),
            "time": ("one day", "two hours", "one night"),
        },
    ),
    Template(
        "travel",
        "Pack {things} in a {bag} for a trip to the {place}",
        ("{things}", "{bag}", "{wrap}"),
        (
            "Write a list of the {things} that you need.",
            ("place", "lake, sea", "Put dry clothes into a bag that keeps water out."),
            "Wrap the {things} in {wrap}.",
            "Put the heavy {things} at the {where} of the {bag}.",
            "Fill the gaps in the {bag} with {fill}.",
            "Close the {bag} and tie it with {tie}.",
            "Carry the {bag} {check} to see if it is too heavy.",
        ),
        {
            "things": ("books", "plates", "toys", "shoes", "tools", "cameras", "games"),
            "place": ("lake", "sea", "city", "hills", "farm", "school camp"),
            "bag": ("suitcase", "wooden crate", "backpack", "paper box"),
            "wrap": ("old newspaper", "towels", "thick paper"),
            "where": ("bottom", "back", "middle"),
            "fill": ("socks", "soft paper", "small bags"),
            "tie": ("a rope", "a belt", "string"),
            "check": ("around the room", "up the stairs", "to the door"),
        },
    ),
)
_REWORDINGS = (
    ("Put", "Place"),
    ("Pour", "Tip"),
    ("Press", "Push"),
    ("Wait", "Leave it"),
    ("Fill", "Top up"),
    ("Clean", "Wash"),
    ("Spread", "Smear"),
    ("Lay", "Place"),
    ("Let", "Leave"),
    ("with your hands", "by hand"),
    ("until", "till"),
    ("around", "round"),
    ("off", "away from"),
)


def generate(index: int, split: str = "train", seed: int = 0) -> dict[str, Any]:
    """Item `index` of a split: `id`, `topic`, `goal`, `resources`, `steps`, and `label` as in the module's text, with
    `test_index` for what repeats a test row. Raises ToolError for a split that does not exist."""
    check_split(split)
    rng = Random(f"{seed}:procedures:{split}:{index}")
    label = rng.choices(tuple(LABELS), tuple(LABELS.values()))[0] if split == "train" else "clean"
    name = {"id": f"{split}-{seed}-{index}"}
    if label == "clean":
        return name | _tell(rng, split) | {"label": label, "test_index": None}
    number = rng.randrange(N_TESTS)
    test = generate(number, "test", TEST_SEED) | name
    return (_reworded(test) if label == "rewording" else test) | {"label": label, "test_index": number}


def procedures(split: str, size: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """The first `size` items of a split; raises ToolError for a split that does not exist."""
    check_split(split)
    return (generate(index, split, seed) for index in range(size))


def check_split(split: str) -> None:
    """Raises ToolError for a split that does not exist."""
    if split not in SPLITS:
        raise ToolError(f"demo://procedures has no split '{split}': use {' or '.join(SPLITS)}")


def _tell(rng: Random, split: str) -> dict[str, Any]:
    """A procedure whose goal belongs to the split."""
    while True:
        template = rng.choice(TEMPLATES)
        words = {key: rng.choice(values) for key, values in template.words.items()}
        goal = template.goal.format(**words)
        if _owner(goal) == split:
            steps = [
                s if isinstance(s, str) else s[2] for s in template.steps if isinstance(s, str) or _holds(s, words)
            ]
            return {
                "topic": template.topic,
                "goal": goal,
                "resources": [one.format(**words) for one in template.resources],
                "steps": [step.format(**words) for step in steps],
            }


def _holds(step: tuple[str, str, str], words: Mapping[str, str]) -> bool:
    return words[step[0]] in step[1].split(", ")


def _owner(goal: str) -> str:
    """One goal of five is a test's."""
    return "test" if hashlib.sha256(goal.encode()).digest()[0] % 5 == 0 else "train"


def _reworded(row: dict[str, Any]) -> dict[str, Any]:
    """The same procedure with its goal as a question and other words in many steps."""
    asked = f"How do I {row['goal'][0].lower()}{row['goal'][1:]}?"
    return row | {"goal": asked, "steps": [_other_words(step) for step in row["steps"]]}


def _other_words(text: str) -> str:
    for phrase, other in _REWORDINGS:
        text = re.sub(rf"\b{phrase}\b", other, text)
    return text
