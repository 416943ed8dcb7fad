"""Multiple choice: the options of a row, in the layouts that benchmarks use, and what a model is asked about them.

The order of the options is permuted by (seed, task, id), so that where the right one stands says nothing, and a model
that prefers a letter shows it. Options that speak of each other (`All of the above`, `Both A and C`) keep their order.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tools_shared.sources import as_list, lookup

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LISTS = ("options", "choices", "endings", "candidates")
RIGHT = (
    "answer",
    "answerKey",
    "answer_index",
    "label",
    "gold",
    "target",
    "correct",
    "Answer",
    "answer_key",
    "correct_option",
)
NAMED = (
    ("Correct Answer", "Incorrect Answer"),
    ("correct_answer", "incorrect_answer"),
    ("correct_answer", "distractor"),
)
"""The right option in one field and the others in numbered fields, or in a list in the plural."""
_OF_OTHERS = re.compile(
    r"\b(?:all|none|any|both|neither|either|two|more than one) of (?:the )?(?:above|these|those|them|options|answers)\b"
    r"|\b(?:all|none) (?:the )?above\b"
    r"|\b(?:both|neither|either|only|options?|answers?|choices?) \(?[A-J]\)?(?:\s*(?:,|and|or|nor|&)\s*\(?[A-J]\)?)"
    r"|^\(?[A-J]\)?\s*(?:,|and|or|nor|&)\s*\(?[A-J]\)?(?:\b|$)",
    re.IGNORECASE,
)

Options = tuple[list[str], int]
"""The texts of the options, and the place of the right one."""


def has_options(data: Mapping[str, Any]) -> bool:
    """Whether a row looks like multiple choice: it has options, readable or not."""
    return _laid_out(data) is not None


def options_of(data: Mapping[str, Any], answer_key: str | None = None) -> Options:
    """The options of a row as they stand there; raises ValueError saying what is wrong with them."""
    found = _laid_out(data)
    if found is None:
        raise ValueError(
            f"no options in the row ({', '.join(LISTS)}, fields A, B, C ..., or a right and wrong answers)"
        )
    given, labels, right = found
    while given and (given[-1] is None or not str(given[-1]).strip()):  # filled up to as many as the longest row has
        given = given[:-1]
    texts = _without_letters([str(text).strip() for text in given])
    if "" in texts or None in given:
        raise ValueError(f"option {LETTERS[texts.index('') if '' in texts else given.index(None)]} is empty")
    if not 2 <= len(texts) <= len(LETTERS):
        raise ValueError(f"{len(texts)} options; there have to be 2 to {len(LETTERS)}")
    if right is None:
        said = _given(data, answer_key)
        is_number = type(said) is int and 0 <= said < len(texts) and all(isinstance(text, str) for text in given)
        right = said if is_number and not labels else _place(said, texts, labels)
    if right >= len(texts):
        raise ValueError("the right option is empty")
    if texts.count(texts[right]) > 1:
        raise ValueError("the right option occurs twice")
    return texts, right


def permuted(options: Options, seed: int, name: str) -> Options:
    """The options in the order in which they are shown: a permutation that (seed, name) alone decide."""
    texts, right = options
    if any(_OF_OTHERS.search(text) for text in texts):
        return options
    order = list(range(len(texts)))
    random.Random(f"{seed}\x1f{name}").shuffle(order)
    return [texts[i] for i in order], order.index(right)


def listed(question: str, options: Sequence[str]) -> str:
    """The question with its lettered options below."""
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False)]
    return "\n".join([question, "", *lines])


def asked(question: str, options: Sequence[str]) -> str:
    return f"{listed(question, options)}\n\nAnswer with the letter of the right option."


def _without_letters(texts: list[str]) -> list[str]:
    """Without the letters that options bring along (`A) 21`, `(B) 22`), where each brings its own."""
    found = [re.match(rf"\(?{letter}[).:]\s*(?=\S)", text) for letter, text in zip(LETTERS, texts, strict=False)]
    if len(found) < len(texts) or not all(found):
        return texts
    return [text[match.end() :] for text, match in zip(texts, found, strict=True) if match]


def _laid_out(data: Mapping[str, Any]) -> tuple[list[Any], list[str] | None, int | None] | None:
    """Texts, the labels that they have in the row, and the place of the right one where the layout itself says it."""
    for name in LISTS:
        value = data.get(name)
        if isinstance(value, Mapping) and isinstance(value.get("text"), list | tuple):
            return list(value["text"]), [str(label) for label in value.get("label", ())] or None, None
        if isinstance(value, Mapping) and value and all(isinstance(text, str) for text in value.values()):
            return list(value.values()), [str(label) for label in value], None
        if (texts := as_list(value)) and all(text is None or isinstance(text, str | int | float) for text in texts):
            return texts, None, None
        if texts and all(isinstance(one, Mapping) and "text" in one for one in texts):
            return [one["text"] for one in texts], [str(one.get("label", i)) for i, one in enumerate(texts)], None
    targets = data.get("mc1_targets")
    if isinstance(targets, Mapping):
        texts = list(targets.get("choices", targets))
        marks = list(targets.get("labels", targets.values()))
        return texts, None, marks.index(1) if marks.count(1) == 1 else None
    return _named(data) or _in_columns(data)


def _named(data: Mapping[str, Any]) -> tuple[list[Any], None, int] | None:
    for right, wrong in NAMED:
        numbered = re.compile(rf"{wrong}[ _]?\d+", re.IGNORECASE)
        others = [data[name] for name in data if numbered.fullmatch(name) and data[name] not in (None, "")]
        others = others or as_list(data.get(f"{wrong}s")) or []
        if isinstance(data.get(right), str | int | float) and others:
            return [data[right], *others], None, 0
    return None


def _in_columns(data: Mapping[str, Any]) -> tuple[list[Any], list[str], None] | None:
    for form in ("{}", "option_{}", "option{}", "choice_{}", "op{}"):
        for letters in (LETTERS, LETTERS.lower(), "0123456789", "123456789"):
            names = [form.format(letter) for letter in letters]
            held = [n for n in names if data.get(n) not in (None, "")]
            if len(held) >= 2 and held == names[: len(held)]:
                return [data[name] for name in held], [name[-1].upper() for name in held], None
    return None


def _given(data: Mapping[str, Any], key: str | None) -> Any:
    for name in [key] if key else RIGHT:
        try:
            value = lookup(data, name)
        except KeyError:
            continue
        if value is not None and value != "":
            return value
    raise ValueError(f"nothing says which option is right; pass --answer-key or add {', '.join(RIGHT[:3])}")


def _place(given: Any, texts: Sequence[str], labels: Sequence[str] | None) -> int:
    """The place of the right option: by the row's own label, its letter, its number from 0, or its text; ValueError
    where these are at odds (a label of the row is that of one option, whatever the texts are)."""
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if isinstance(given, bool) or not isinstance(given, str | int | float) or given != given:
        raise ValueError(f"the right option is {given!r}, no letter, number or text")
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    said = str(given).strip()
    if labels and [label.upper() for label in labels].count(said.upper()) == 1:
        return [label.upper() for label in labels].index(said.upper())
    found = {texts.index(said)} if said in texts else set()
    if said.lstrip("-").isdecimal():
        found |= {int(said)} if 0 <= int(said) < len(texts) else set()
    elif len(bare := said.strip("(). ").upper()) == 1 and bare in LETTERS[: len(texts)]:
        found.add(LETTERS.index(bare))
    if len(found) != 1:
        what = "is no option" if not found else "is the letter or number of one option and the text of another"
        raise ValueError(f"the right option is given as {said[:60]!r}, which {what}")
    return found.pop()
