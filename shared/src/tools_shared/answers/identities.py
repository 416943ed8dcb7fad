"""Whether two sympy expressions are the same number or the same function. Runs in the worker (`worker.py`).

It takes the place of math-verify's own numeric comparison, which is absolute: there everything below 10^-15 is equal,
`\\frac{1}{2^{99}}` and `\\frac{1}{2^{98}}`, with or without an `x` beside it. Here rationals are compared exactly,
sums, powers and factorials that can be written out among them; other numbers to DIGITS digits of their own size; and
expressions with variables at points, at which two different functions differ. What no point decides is simplified.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

DIGITS = 40
"""Two numbers that share this many digits are taken for equal; literals are exact, so no rounded one is among them."""
MAX_BITS = 200_000
MAX_TERMS = 1000
MAX_FACTORIAL = 5000
POINTS = ("3/7", "-5/3", "7/3", "-3/11", "13/5", "2/11", "-17/6", "5/8", "19/4", "-23/7", "31/9", "37/13")
"""Where functions are compared; a variable takes every fifth or so of them, so no two take the same."""
ENOUGH = 4
"""Points with real values on both sides at which two functions agree before they are taken for one."""
LEAST = 5
"""This many first points hold both signs of every variable; fewer could take two functions for one."""


def same(one: Any, other: Any, *_: Any, **__: Any) -> bool:
    """Whether two expressions or matrices are equal; takes (and needs not) the precisions of math-verify's function."""
    from sympy import MatrixBase, MatrixExpr

    one, other = (e.doit() if isinstance(e, MatrixExpr) else e for e in (one, other))
    if isinstance(one, MatrixBase) or isinstance(other, MatrixBase):
        alike = isinstance(one, MatrixBase) and isinstance(other, MatrixBase) and one.shape == other.shape
        return alike and all(same(a, b) for a, b in zip(one.flat(), other.flat(), strict=True))
    if _is_percent(one) and _is_percent(other):
        return same(one.args[0], other.args[0])
    return any(_same_value(a, b) for a in _values(one) for b in _values(other))


def _is_percent(expression: Any) -> bool:
    """math-verify writes `9%` as 9 times an unevaluated hundredth."""
    from sympy import Mul, Rational, UnevaluatedExpr

    hundredth = UnevaluatedExpr(Rational(1, 100))
    return isinstance(expression, Mul) and len(expression.args) == 2 and expression.args[1] == hundredth


def _values(expression: Any) -> list[Any]:
    """A percentage is what precedes the sign, and a hundredth of it."""
    return [expression.args[0], expression] if _is_percent(expression) else [expression]


def _same_value(one: Any, other: Any) -> bool:
    exact, other_exact = rational(one), rational(other)
    if exact is not None and other_exact is not None:
        return exact == other_exact
    if one == other:
        return True
    one, other = _with_i(one), _with_i(other)
    try:
        known = _same_number(one, other) if _is_number(one) and _is_number(other) else _same_function(one, other)
    except (TypeError, ValueError, AttributeError, ArithmeticError, NotImplementedError):
        known = None
    return _simplified(one, other) if known is None else known


def _with_i(e: Any) -> Any:
    """With the imaginary unit for `i`, which math-verify reads as a variable."""
    from sympy import I

    return e.xreplace({name: I for name in e.free_symbols if name.name == "i"})


def rational(expression: Any, at: Mapping[Any, Fraction] | None = None) -> Fraction | None:
    """The exact value of an expression of rationals, with variables as `at` says; None where it is none, or too large
    to be written out."""
    try:
        return _rational(expression, at or {})
    except (ZeroDivisionError, RecursionError, AttributeError):
        return None


def _rational(e: Any, at: Mapping[Any, Fraction]) -> Fraction | None:
    import sympy

    if isinstance(e, sympy.Symbol):
        return at.get(e)
    if isinstance(e, sympy.Rational):
        return Fraction(int(e.p), int(e.q)) if e.q else None
    if isinstance(e, (sympy.Sum, sympy.Product)):
        return _finite(e, at)
    if not isinstance(
        e, (sympy.Add, sympy.Mul, sympy.Pow, sympy.factorial, sympy.binomial, sympy.UnevaluatedExpr, sympy.Abs)
    ):
        return None
    values = _all_rational(e.args, at)
    if values is None:
        return None
    if isinstance(e, sympy.Add):
        return sum(values, Fraction(0))
    if isinstance(e, sympy.Mul):
        return math.prod(values, start=Fraction(1))
    if isinstance(e, sympy.Pow):
        return _power(*values)
    if isinstance(e, sympy.UnevaluatedExpr):
        return values[0]
    if isinstance(e, sympy.Abs):
        return abs(values[0])
    if any(value.denominator != 1 or not 0 <= value <= MAX_FACTORIAL for value in values):
        return None
    whole = [int(value) for value in values]
    return Fraction(math.factorial(*whole) if isinstance(e, sympy.factorial) else math.comb(*whole))


def _all_rational(args: Iterable[Any], at: Mapping[Any, Fraction]) -> list[Fraction] | None:
    found = [_rational(arg, at) for arg in args]
    values = [value for value in found if value is not None]
    return values if len(values) == len(found) else None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator != 1 or bits * abs(exponent) > MAX_BITS:
        return None
    return base ** int(exponent)


def _finite(e: Any, at: Mapping[Any, Fraction]) -> Fraction | None:
    """A sum or product over one index with whole limits."""
    import sympy

    if len(e.limits) != 1 or len(e.limits[0]) != 3:
        return None
    index, first, last = e.limits[0]
    begin, end = _rational(first, at), _rational(last, at)
    if begin is None or end is None or begin.denominator != 1 or end.denominator != 1 or end - begin > MAX_TERMS:
        return None
    found = [_rational(e.function, {**at, index: Fraction(i)}) for i in range(int(begin), int(end) + 1)]
    terms = [term for term in found if term is not None]
    if len(terms) < len(found):
        return None
    return sum(terms, Fraction(0)) if isinstance(e, sympy.Sum) else math.prod(terms, start=Fraction(1))


def _is_number(e: Any) -> bool:
    return not e.free_symbols


def _same_number(one: Any, other: Any) -> bool | None:
    """By value; None where the values are not to be had, or their difference has no digit that is sure."""
    from sympy import Float

    a, b = one.doit().evalf(DIGITS), other.doit().evalf(DIGITS)
    if not (a.is_number and b.is_number and _is_value(a) and _is_value(b)):
        return None
    size = max(abs(a), abs(b))
    difference = abs((one - other).doit().evalf(DIGITS, maxn=4 * DIGITS))
    if difference == 0:
        return True
    if difference > size * Float(10) ** (5 - DIGITS):
        return None if isinstance(difference, Float) and difference._prec == 1 else False
    return True


def _is_value(e: Any) -> bool:
    """A finite real or complex number that has been worked out."""
    from sympy import Number

    return e.is_finite is not False and all(isinstance(part, Number) for part in e.as_real_imag())


def _same_function(one: Any, other: Any) -> bool | None:
    """By values at points; None where too few points have a real value on both sides."""
    from sympy.core.function import AppliedUndef

    if one.has(AppliedUndef) or other.has(AppliedUndef):
        return None
    names = sorted(one.free_symbols | other.free_symbols, key=str)
    points = [Fraction(point) for point in POINTS]
    agree = 0
    for i in range(len(points)):
        at = {name: points[(i + 5 * j) % len(points)] + j // len(points) for j, name in enumerate(names)}
        a, b = _at(one, at), _at(other, at)
        if a is None or b is None:
            continue
        if abs(a - b) > max(abs(a), abs(b)) * Fraction(1, 10 ** (DIGITS // 2)):
            return False
        agree += 1
        if agree == ENOUGH and i >= LEAST:
            return True
    return True if agree >= ENOUGH else None


def _at(e: Any, at: Mapping[Any, Fraction]) -> Any:
    """The real value at a point, exact where it can be; None where there is none."""
    from sympy import Rational

    exact = rational(e, at)
    if exact is not None:
        return exact
    value = e.evalf(DIGITS, subs={name: Rational(x.numerator, x.denominator) for name, x in at.items()})
    return Fraction(str(value)) if value.is_Float and value.is_finite else None


def _simplified(one: Any, other: Any) -> bool:
    from sympy import simplify

    try:
        return bool(simplify(one - other).is_zero)
    except Exception:  # noqa: BLE001 - sympy raises nearly anything on expressions that make no sense
        return False
