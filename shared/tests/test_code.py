"""Programs and tests as data sets write them: MBPP's asserts, HumanEval's check, APPS's inputs and outputs."""

import json

import pytest

from tools_shared.code import grade_program, grade_programs, program_in, read_tests
from tools_shared.errors import UnusableError
from tools_shared.sandbox import SandboxLimits

pytestmark = pytest.mark.usefixtures("sandbox")

TIGHT = SandboxLimits(seconds=1, patience=2)


MBPP = {
    "prompt": "Write a function to find the shared elements of two lists.",
    "test_list": [
        "assert set(similar((3, 4, 5, 6),(5, 7, 4, 10))) == set((4, 5))",
        "assert similar((1, 2),(3,)) == ()",
        "assert isinstance(similar((1,), (1,)), tuple)",
    ],
    "test_imports": ["import math"],
}
HUMAN_EVAL = {
    "prompt": "def truncate(x): ...",
    "entry_point": "truncate",
    "test": "def check(candidate):\n    assert candidate(3.5) == 0.5\n    assert abs(candidate(1.33) - 0.33) < 1e-6",
}
APPS = {"input_output": json.dumps({"inputs": ["3\n1 2 3\n", "1\n-4"], "outputs": ["6\n", "-4\n"]})}
APPS_CALL = {
    "input_output": json.dumps({"fn_name": "pair", "inputs": [[1, 2], ["a", None]], "outputs": [[1, 2], [["a", None]]]})
}
OPEN_R1 = {
    "verification_info": {"language": "python", "test_cases": [{"type": "stdin_stdout", "input": "5", "output": "120"}]}
}
VERL = {"reward_model": {"ground_truth": '{"inputs": ["2 3"], "outputs": ["8"]}'}}
OPEN_INSTRUCT = {"messages": [], "ground_truth": "[\"assert double(4) == 8\", \"assert double('ab') == 'abab'\"]"}
LIVE_CODE = {"fn_name": "add", "tests": [{"input": "[1, 2]\n3", "output": "[1, 2, 3]", "testtype": "functional"}]}

SUM = "n = int(input())\nprint(sum(map(int, input().split())))"
RIGHT_AND_WRONG = [
    (MBPP, "def similar(a, b): return tuple(set(a) & set(b))", "def similar(a, b): return [x for x in a if x in b]"),
    (HUMAN_EVAL, "def truncate(x): return x % 1", "def truncate(x): return 0.5"),
    (APPS, SUM, "input()\nprint(6)"),
    (APPS_CALL, "def pair(a, b): return a, b", "def pair(a, b): return b, a"),
    (OPEN_R1, "import math\nprint(math.factorial(int(input())))", "print(12)"),
    (VERL, "a, b = map(int, input().split())\nprint(a ** b)", "a, b = map(int, input().split())\nprint(a * b)"),
    (OPEN_INSTRUCT, "def double(x): return x * 2", "def double(x): return 8"),
    (LIVE_CODE, "def add(items, x): return [*items, x]", "def add(items, x): items.append(x)"),
]


@pytest.mark.parametrize(("row", "right", "wrong"), RIGHT_AND_WRONG)
def test_the_forms_of_data_sets_tell_right_from_wrong(row, right, wrong):
    tests = read_tests(row)

    passed, failed = grade_programs([right, wrong], [tests, tests])

    assert passed.passed, passed
    assert passed.n_passed == passed.n_tests
    assert not failed.passed
    assert failed.reason


CHEATS = {
    "leaving": "import sys\nsys.exit(0)",
    "leaving hard": "import os\nos._exit(0)",
    "equal to all": "class E:\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "a number equal to all": "class E(int):\n    def __eq__(self, other): return True\ndef f(x): return E(0)",
    "shown as the answer": "class E:\n    def __repr__(self): return '918273645'\ndef f(x): return E()",
    "looking for the answer": (
        "import gc, re, sys\ndef f(x):\n    seen, frame = [], sys._getframe()\n    while frame:\n"
        "        seen.append(repr(frame.f_locals))\n        frame = frame.f_back\n"
        "    seen += [repr(o) for o in gc.get_objects() if isinstance(o, (dict, list))]\n"
        "    return int(re.search(r'\\b918\\d{6}\\b', ' '.join(seen))[0])"
    ),
    "saying that it passed": "print('{\"ok\": true}')\nprint('passed')",
    "nothing": "",
    "waiting": "def f(x):\n    while True: pass",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_program_that_solves_nothing_passes_nothing(name):
    tests = read_tests({"tests": ["assert f(10) == 918273645"]})

    assert not grade_program(CHEATS[name], tests, TIGHT).passed


@pytest.mark.parametrize("name", ["leaving", "leaving hard", "waiting", "saying that it passed"])
def test_checks_that_never_ran_do_not_hold(name):
    tests = read_tests({"tests": ["assert abs(f(10) - 1024) < 1e-9"]})

    assert not grade_program(CHEATS[name], tests, TIGHT).passed


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("Sure!\n```python\nx = 1\n```\nThat is all.", "x = 1\n"),
        ("```py\na\n```\nBetter:\n```Python\nb\n```\n", "b\n"),
        ("```python\nuse()\n```\nIt prints\n```\n42\n```", "use()\n"),
        ("<think>```python\nwrong\n```</think>\n```\nright\n```", "right\n"),
        ("```python\nprint('cut off", "print('cut off"),
        ("~~~python3\nx = '```'\n~~~", "x = '```'\n"),
        ("<answer>\nprint(1)\n</answer>", "\nprint(1)\n"),
        ("print(1)", "print(1)"),
        ("```cpp\nint main() {}\n```", None),
        ("I would sort the list first.", None),
        ("", None),
    ],
)
def test_the_program_of_a_completion(text, program):
    assert program_in(text, ("<think>", "</think>"), ("<answer>", "</answer>")) == program


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "4"}, 'no column "tests'),
        ({"tests": []}, '"tests" contains no test'),
        ({"tests": ["assert f(1"]}, '"tests.0" is not Python'),
        ({"tests": 3}, '"tests" is int'),
        ({"tests": [{"input": "3"}]}, '"tests.0" has none of output'),
        ({"input_output": '{"inputs": ["1", "2"], "outputs": ["1"]}'}, "2 inputs and not as many outputs"),
        ({"tests": [{"fn_name": "f", "input": "a b", "output": "3"}]}, "arguments that are not JSON"),
    ],
)
def test_tests_that_cannot_be_read_are_named(row, message):
    with pytest.raises(UnusableError, match=message):
        read_tests(row)


@pytest.mark.parametrize(
    ("program", "passes"),
    [
        ("def mean(x):\n    return sum(x) / len(x)", True),
        ("def mean(x):\n    return sum(x) / len(x) + 1e-9", True),
        ("def mean(x):\n    return sum(x) / len(x) + 0.01", False),
        ("def mean(x):\n    return [0, 0, 0]", False),
    ],
)
def test_tests_that_import_numpy_run_without_it(sandbox, program, passes):
    """HumanEval+ compares numbers by `np.allclose`; the sandbox has the standard library alone."""
    test = (
        "import numpy as np\n\ndef check(candidate):\n"
        "    out = candidate([1, 2])\n"
        "    assert not isinstance(out, np.ndarray)\n"
        "    assert np.allclose(out, 1.5, rtol=1e-07, atol=1e-6)\n"
    )
    row = {"prompt": "def mean(x):\n", "entry_point": "mean", "test": test}
    assert grade_program(program, read_tests(row)).passed is passes


def test_further_tests_beside_a_list_of_asserts(sandbox):
    """MBPP+: a program that passes the few asserts fails the many tests beside them."""
    row = {"test_list": ["assert third(0) == 0"], "test": "import numpy as np\nassert np.isclose(third(6), 2)"}
    assert len(read_tests(row).items) == 2
    assert grade_program("def third(n):\n    return n / 3", read_tests(row)).passed
    assert grade_program("def third(n):\n    return 0", read_tests(row)).n_passed == 1
