"""A judge without a model, `--reward configs/how2/checklist.py:checklist`: which steps of the reference a reply has.

It compares words. A step counts as there when a line of the reply has at least half of the step's content words, and
lines count in the order of the steps alone; a line that is no step of the reference costs as much as a missing one.
So it pays what repeats the reference, and a good procedure in other words gets little: enough to see that the pipeline
works, no measure of how useful a procedure is. For that, take a language model: `judge:configs/how2/rubric.yaml`.
"""

import re

LINE = re.compile(r"^\s*(?:\d+[.)]|[-*])\s*(.+)$", re.MULTILINE)
WORD = re.compile(r"\w+")
SHORT = 3
"""Words of at most this many letters are left out, such as "the" and "of"."""


def checklist(prompts, completions, steps, **columns):
    """For each completion the share of steps that are there in order, from 0 to 1; None without a reference."""
    return [score(text, reference) for text, reference in zip(completions, steps, strict=True)]


def score(text: str, reference: list[str] | None) -> float | None:
    """Steps of the reference that are there, in order, over the steps of the longer of the two."""
    wanted = [words(step) for step in reference or []]
    if not wanted:
        return None
    said = [words(line) for line in LINE.findall(text)]
    return in_order(wanted, said) / max(len(wanted), len(said))


def words(text: str) -> set[str]:
    found = {word.lower() for word in WORD.findall(text)}
    return {word for word in found if len(word) > SHORT} or found


def in_order(wanted: list[set[str]], said: list[set[str]]) -> int:
    """The most steps that can be matched with lines so that both go forward (longest common subsequence)."""
    best = [0] * (len(said) + 1)
    for step in wanted:
        before = best
        best = [0]
        for j, line in enumerate(said):
            best.append(max(before[j + 1], best[j], before[j] + (2 * len(step & line) >= len(step))))
    return best[-1]
