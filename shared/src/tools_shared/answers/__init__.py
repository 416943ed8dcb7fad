"""Extract an answer from a text, and decide whether two answers are equal.

Both work on whatever a model writes, so both are bounded: linear patterns over the text, limits on the
length of an answer and on its exponents, and a process that can be killed for everything symbolic.
Nothing here evaluates text as code.
"""

from tools_shared.answers.equal import Status, Verdict, equal, equal_many
from tools_shared.answers.extract import Extraction, extract, gold_answer
from tools_shared.answers.judge import Case, Judgement, answer_anywhere, judge, judge_many, readable
from tools_shared.answers.numbers import Number, OutOfBounds, parse_number
from tools_shared.answers.running import Found, find_numbers

__all__ = [
    "Case",
    "Extraction",
    "Found",
    "Judgement",
    "Number",
    "OutOfBounds",
    "Status",
    "Verdict",
    "answer_anywhere",
    "equal",
    "equal_many",
    "extract",
    "find_numbers",
    "gold_answer",
    "judge",
    "judge_many",
    "parse_number",
    "readable",
]
