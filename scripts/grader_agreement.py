"""Agreement of our grader with the test suites of published graders, and every difference.

    python scripts/grader_agreement.py Math-Verify/tests inspect_ai/tests/scorer/math_cases.json \\
        NeMo-Skills/tests/test_math_equal.py

A folder stands for its `test_*.py`. Python files are parsed and never executed: from each `pytest.mark.parametrize` are
taken the rows of literals that have `gold` and `pred`, or an `output_pair` (both directions; the test's name says
whether they are equal). A JSON file is a list of objects with `output`, `target` and `expected` (`C` or `I`). Texts of
output go through extraction as a completion does, pairs of answers go straight to the comparison.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools_shared.answers import equal, extract
from tools_shared.prompts import PROFILES


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


def answer(text: str) -> str:
    return extract(text, PROFILES["boxed"], lenient=True).answer or text


def main(paths: list[str]) -> None:
    found = [case for path in paths for case in cases(Path(path))]
    for suite in dict.fromkeys(case.suite for case in found):
        here = [case for case in found if case.suite == suite]
        agree = 0
        for case in here:
            gold, given = (case.gold, case.output) if case.bare else (answer(case.gold), answer(case.output))
            verdict = equal(gold, given)
            agree += verdict.correct == case.same
            if verdict.correct != case.same:
                print(f"  {suite}: {'equal' if case.same else 'different'} there, {verdict.status} here")
                print(f"    gold  {case.gold!r}  ->  {gold!r}\n    given {case.output!r}  ->  {given!r}")
        print(f"{suite}: {agree} of {len(here)} agree")
    print(f"all: {len(found)} cases")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
