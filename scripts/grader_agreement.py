"""Agreement of our grader with the test suites of published graders, and every difference.

    python scripts/grader_agreement.py Math-Verify/tests inspect_ai/tests/scorer/math_cases.json \\
        NeMo-Skills/tests/test_math_equal.py

A folder means its `test_*.py`. Python files are parsed and never executed: from each `pytest.mark.parametrize` are
taken the rows of literals that have `gold` and `pred`, or an `output_pair` (both directions; the test's name says
whether they are equal). A JSON file is a list of objects with `output`, `target` and `expected` (`C` or `I`). Texts of
output go through extraction as a completion does, pairs of answers go straight to the comparison; so does
an output of one line without a box, which may be an answer alone, before extraction is tried.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.answers import equal, extract, judge
from tools_shared.answers.clean import clean
from tools_shared.prompts import PROFILES

CONVENTIONS = {"strict", "allow_set_relation_comp"}
"""Rows that test an option of their grader, which has no counterpart here, are left out."""


@dataclass(frozen=True)
class Case:
    """`output` may be a whole completion unless `bare`; `same` is what the suite expects."""

    suite: str
    gold: str
    output: str
    same: bool
    bare: bool = False


def cases(path: Path) -> Iterator[Case]:
    if path.is_dir():
        for file in sorted(path.glob("test_*.py")):
            yield from cases(file)
    elif path.suffix == ".json":
        for row in json.loads(path.read_text(encoding="utf-8")):
            yield Case(path.name, str(row["target"]), str(row["output"]), row["expected"] == "C")
    else:
        yield from python_cases(path)


def python_cases(path: Path) -> Iterator[Case]:
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.parametrize":
                yield from parametrized(path.name, function.name, decorator)


def parametrized(suite: str, function: str, decorator: ast.Call) -> Iterator[Case]:
    names = [name.strip() for name in str(literal(decorator.args[0])).split(",")]
    rows = [literal(row) for row in decorator.args[1].elts] if isinstance(decorator.args[1], ast.List) else []
    for row in rows:
        if CONVENTIONS & set(names):
            continue
        if names == ["output_pair"] and isinstance(row, tuple):
            one, other = map(str, row)
            for pair in ((one, other), (other, one)):
                yield Case(suite, *pair, same="incorrect" not in function, bare=True)
        elif {"gold", "pred"} <= set(names) and isinstance(row, tuple):
            values = dict(zip(names, row, strict=False))
            expected = values.get("expected", values.get("result"))
            if isinstance(values["gold"], str) and isinstance(values["pred"], str) and expected is not None:
                yield Case(suite, values["gold"], values["pred"], bool(expected))


def literal(node: ast.expr) -> Any:
    """The value of a literal, of a division of two, or None."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return literal(node.left) / literal(node.right)
    if isinstance(node, ast.Tuple):
        return tuple(literal(item) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def gold_of(text: str) -> str:
    """The gold answer of a text: the text itself, unless it is prose or has its answer in a box."""
    if "\\boxed" in text or "$" in clean(text):
        found = extract(text, PROFILES["boxed"], lenient=True)
        return found.whole or found.answer or text
    return text


def agrees(case: Case) -> bool:
    """Whether our verdict is the suite's; prints the case where it is not."""
    gold = case.gold if case.bare else gold_of(case.gold)
    if case.bare:
        given, correct = case.output, equal(gold, case.output).correct
    else:
        judgement = judge(case.output, gold, PROFILES["boxed"])
        if is_field(case.output) and equal(gold, case.output).correct:
            return case.same or report(case, gold, case.output, correct=True)
        given, correct = judgement.lenient.whole or judgement.lenient.answer, judgement.lenient_correct
    return correct == case.same or report(case, gold, given, correct)


def is_field(text: str) -> bool:
    """Whether an output is an answer alone, as in a field for it."""
    return len(text) <= 200 and "\n" not in text and "boxed" not in text


def report(case: Case, gold: str, given: str | None, correct: bool) -> bool:
    print(f"  {'equal' if case.same else 'different'} there, {'equal' if correct else 'different'} here")
    print(f"    gold  {case.gold!r}  ->  {gold!r}\n    given {case.output!r}  ->  {given!r}")
    return False


def main(paths: list[str]) -> None:
    found = [case for path in paths for case in cases(Path(path))]
    for suite in dict.fromkeys(case.suite for case in found):
        print(f"{suite}:")
        here = [agrees(case) for case in found if case.suite == suite]
        print(f"{suite}: {sum(here)} of {len(here)} agree")
    print(f"all: {len(found)} cases")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
