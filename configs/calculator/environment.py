"""A calculator for word problems: `--environment configs/calculator/environment.py:Calculator`.

The arithmetic is read by the small grammar below, with the numbers of `tools_shared.answers`, and computed exactly;
nothing is evaluated as code. What it cannot read it raises, and the model is told.
"""

import re
from fractions import Fraction

from tools_shared.answers import parse_number

TOKEN = re.compile(r"\s*(?:(\d[\d,]*(?:\.\d+)?|\.\d+)|([-+*/()]))")
LONGEST = 200
SIGNS = {"×": "*", "÷": "/", "−": "-"}


class Calculator:
    """One tool, without state."""

    def reset(self, **columns) -> None:
        """Nothing to begin."""

    def calculate(self, expression: str) -> str:
        """
        Compute an arithmetic expression exactly.

        Args:
            expression: Numbers with + - * / and parentheses.
        """
        return written(value_of(expression))


def value_of(expression: str) -> Fraction:
    """The value of `+ - * /` over numbers; raises ValueError or ZeroDivisionError for what has none."""
    if len(expression) > LONGEST:
        raise ValueError(f"more than {LONGEST} characters")
    rest = tokens_of("".join(SIGNS.get(sign, sign) for sign in expression))
    value = total(rest)
    if rest:
        raise ValueError(f"unexpected '{rest[-1]}'")
    return value


def tokens_of(text: str) -> list[str]:
    """The tokens, the first one last."""
    found, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"cannot read '{text[at:].strip()[:20]}'")
        found.append(match[1] or match[2])
        at = match.end()
    return found[::-1]


def total(rest: list[str]) -> Fraction:
    value = product(rest)
    while rest and rest[-1] in "+-":
        value = value + product(rest) if rest.pop() == "+" else value - product(rest)
    return value


def product(rest: list[str]) -> Fraction:
    value = single(rest)
    while rest and rest[-1] in "*/":
        value = value * single(rest) if rest.pop() == "*" else value / single(rest)
    return value


def single(rest: list[str]) -> Fraction:
    first = rest.pop() if rest else "the end"
    if first in ("-", "+"):
        return single(rest) if first == "+" else -single(rest)
    if first == "(":
        value = total(rest)
        if not rest or rest.pop() != ")":
            raise ValueError("a parenthesis is not closed")
        return value
    number = parse_number(first)
    if number is None:
        raise ValueError(f"a number is missing before '{first}'")
    return number.value


def written(value: Fraction) -> str:
    """A whole number or a decimal where it is one, else a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((n for n in range(1, 13) if (value * 10**n).denominator == 1), None)
    if places is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(int(value * 10**places))).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
