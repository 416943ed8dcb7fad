"""Is a reply in words that fit the grade? By the Flesch-Kincaid grade level, formulas left out.

0.39 words per sentence + 11.8 syllables per word - 15.59 (Kincaid et al. 1975, Research Branch Report 8-75). Its
agreement with teachers' judgement of mathematics replies has not been measured.
"""

from __future__ import annotations

import re

from tools_bench.grading.detectors.text import sentences

ALLOWED_ABOVE = 2.0
"""A text may be this many grades above the student's."""
_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_VOWELS = re.compile(r"[aeiouy]+")


def reading_grade(text: str) -> float | None:
    """The grade level; None where there are fewer than five words."""
    words = [_WORD.findall(sentence) for sentence in sentences(text)]
    counted = [found for found in words if found]
    n_words = sum(map(len, counted))
    if n_words < 5:
        return None
    syllables = sum(_syllables(word) for found in counted for word in found)
    return 0.39 * n_words / len(counted) + 11.8 * syllables / n_words - 15.59


def suits_grade(text: str, grade: str) -> bool | None:
    """Whether the text is at most ALLOWED_ABOVE grades above (`K` is 0); None where it is too short to say."""
    level = reading_grade(text)
    number = grade.strip().upper().removeprefix("GRADE ").strip()
    if level is None or not (number == "K" or number.isdecimal()):
        return None
    return level <= (0 if number == "K" else int(number)) + ALLOWED_ABOVE


def _syllables(word: str) -> int:
    lower = word.lower()
    n = len(_VOWELS.findall(lower))
    silent = lower.endswith("e") and not lower.endswith(("le", "ee")) and n > 1
    return max(1, n - silent)
