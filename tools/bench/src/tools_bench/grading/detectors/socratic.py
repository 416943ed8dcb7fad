"""Does a tutor's reply make the student take the step, or does it take it for them?

It asks (a question mark, or the words of a question) and does not work out: no equation, no "so the ...", no "which
is". A question alone is not enough: "So the total is 12, right?" tells.
"""

from __future__ import annotations

import re

from tools_bench.grading.detectors.text import LONGEST

_ASKS = re.compile(
    r"\?|\b(?:what|how|why|which|where|who|when|can you|could you|do you|did you|would you|have you|are you|is it|does"
    r"|is there)\b",
    re.IGNORECASE,
)
_TELLS = re.compile(
    r"=|\bso (?:the|it|he|she|they|you)\b|\bthe answer is\b|\bwhich (?:is|means|gives)\b", re.IGNORECASE
)


def is_socratic(reply: str) -> bool:
    text = reply[:LONGEST]
    return bool(_ASKS.search(text)) and not _TELLS.search(text)
