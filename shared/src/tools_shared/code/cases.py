"""The tests of a row, in the forms that data sets write them.

| where | what | as in |
| --- | --- | --- |
| `tests`, `test_list`, `ground_truth` | a list of asserts, or of `{input, output}` | MBPP, open-instruct |
| `test_list` with `test` | the asserts, and further statements | MBPP+ |
| `test` with `entry_point` | statements that define `check(candidate)` | HumanEval |
| `input_output` | `{inputs, outputs, fn_name}` | APPS, TACO, PrimeIntellect's data |

A list may be written as JSON in a text, and a column may stand inside another (`reward_model.ground_truth`). With a
function's name (`fn_name`) the inputs are its arguments, else a program's standard input.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools_shared.code.numpy_stand_in import stand_in_for
from tools_shared.errors import UnusableError
from tools_shared.sources.fields import lookup

TEST_KEYS = (
    "tests",
    "test_cases",
    "test_list",
    "input_output",
    "test",
    "verification_info.test_cases",
    "reward_model.ground_truth",
    "ground_truth",
)
"""Where tests are looked for, in order."""

_NAMES = ("fn_name", "func_name", "function")
_INPUTS = ("input", "inputs", "stdin")
_OUTPUTS = ("output", "outputs", "expected_output", "stdout")


@dataclass(frozen=True)
class IoTest:
    """What the program reads, and what it should print."""

    stdin: str
    stdout: str


@dataclass(frozen=True)
class CallTest:
    """An expression, and the values that it may have. `is_json`: they are JSON's."""

    call: str
    accepted: tuple[Any, ...]
    is_json: bool = False


@dataclass(frozen=True)
class CheckTest:
    """Statements that raise where the program is wrong."""

    source: str


@dataclass(frozen=True)
class CodeTests:
    """A row's tests; `setup` is run in the program's namespace before them."""

    items: tuple[IoTest | CallTest | CheckTest, ...]
    setup: str = ""


def read_tests(data: Mapping[str, Any], key: str | None = None) -> CodeTests:
    """The tests of a row, under `key` or the first of TEST_KEYS that it has. Raises UnusableError, which says what is
    missing or cannot be read."""
    name, found = _first(data, (key,) if key else TEST_KEYS)
    if name is None:
        raise UnusableError(f'no tests: no column "{key or ", ".join(TEST_KEYS[:4])}"')
    found = _unpacked(found)
    if isinstance(found, str) and (entry := data.get("entry_point")):
        setup = stand_in_for(found) + str(data.get("prompt_setup") or "")
        return CodeTests((CheckTest(f"{found}\ncheck({entry})"),), setup)
    items = tuple(_items(found, name, data))
    if name == "test_list" and isinstance(more := data.get("test"), str) and more.strip():
        items = (*items, CheckTest(more.strip()))  # MBPP+ has its further tests there
    if not items:
        raise UnusableError(f'"{name}" contains no test')
    imports = data.get("test_imports") or []
    source = "\n".join(item.source for item in items if isinstance(item, CheckTest))
    lines = [
        stand_in_for(source),
        *(imports if isinstance(imports, list) else [str(imports)]),
        str(data.get("test_setup_code") or ""),
    ]
    return CodeTests(items, "\n".join(line for line in lines if line))


def _first(data: Mapping[str, Any], keys: Sequence[str]) -> tuple[str | None, Any]:
    for key in keys:
        try:
            value = lookup(data, key)
        except KeyError:
            continue
        if value is not None:
            return key, value
    return None, None


def _unpacked(value: Any) -> Any:
    """A list or an object that stands as JSON (or as Python's own notation) in a text, at any depth of quoting."""
    for _ in range(3):
        if not isinstance(value, str) or not value.lstrip().startswith(("[", "{", '"')):
            return value
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return value
    return value


def _items(found: Any, name: str, data: Mapping[str, Any]) -> list[IoTest | CallTest | CheckTest]:
    if isinstance(found, str):
        return [_statement(found, name)]
    if isinstance(found, Mapping) and "test_cases" in found:
        found = found["test_cases"]
    if isinstance(found, Mapping):
        return _columns(found, name, data)
    if not isinstance(found, Sequence):
        raise UnusableError(f'"{name}" is {type(found).__name__}, not a list of tests')
    items: list[IoTest | CallTest | CheckTest] = []
    for i, one in enumerate(found):
        where = f"{name}.{i}"
        if isinstance(one, str):
            items.append(_statement(one, where))
        elif isinstance(one, Mapping):
            items += _columns(one, where, data)
        else:
            raise UnusableError(f'"{where}" is {type(one).__name__}, not a test')
    return items


def _columns(found: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> list[IoTest | CallTest | CheckTest]:
    """`{input, output}`, or `{inputs, outputs}` with a test in each place of the two lists."""
    given, wanted = (_one_of(found, names, name) for names in (_INPUTS, _OUTPUTS))
    function = next((f[n] for f in (found, data) for n in _NAMES if isinstance(f.get(n), str) and f[n]), None)
    many = "inputs" in found and isinstance(given, list)
    if many and (not isinstance(wanted, list) or len(given) != len(wanted)):
        raise UnusableError(f'"{name}" has {len(given)} inputs and not as many outputs')
    pairs = zip(given, wanted, strict=True) if many else [(given, wanted)]
    if function is None:
        return [IoTest(_text(one), _text(other)) for one, other in pairs]
    return [_call(function, one, other, name) for one, other in pairs]


def _one_of(found: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    for name in names:
        if name in found:
            return found[name]
    raise UnusableError(f'"{where}" has none of {", ".join(names)}')


def _text(value: Any) -> str:
    """What a program reads or prints: text, or a list of its lines."""
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)


def _call(function: str, given: Any, wanted: Any, where: str) -> CallTest:
    """A function's arguments as a list, or as lines of JSON (LiveCodeBench). APPS wraps some values in a list."""
    wrapped = wanted if isinstance(wanted, list) and len(wanted) == 1 else []
    if isinstance(given, str):
        try:
            given = [json.loads(line) for line in given.splitlines() if line.strip()]
            wanted = json.loads(wanted) if isinstance(wanted, str) else wanted
        except (ValueError, RecursionError) as error:
            raise UnusableError(f'"{where}" has arguments that are not JSON ({error})') from None
    arguments = given if isinstance(given, list) else [given]
    return CallTest(f"{function}({', '.join(map(repr, arguments))})", (wanted, *wrapped), True)


def _statement(source: str, where: str) -> CallTest | CheckTest:
    """An assert that compares with a literal becomes a call, whose value is compared outside the sandbox."""
    try:
        tree = ast.parse(source.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UnusableError(f'"{where}" is not Python ({type(error).__name__}): {source.strip()[:60]}') from None
    if not tree.body:
        raise UnusableError(f'"{where}" is empty')
    test = tree.body[0].test if len(tree.body) == 1 and isinstance(tree.body[0], ast.Assert) else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        try:
            return CallTest(ast.unparse(test.left), (ast.literal_eval(test.comparators[0]),))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            pass
    return CheckTest(source.strip())
