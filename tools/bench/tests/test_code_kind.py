"""Programs to write: the rows of HumanEval and MBPP, what a model is asked, and what its replies are worth."""

import json

import pytest
from click.testing import CliRunner

from tools_bench.cli import main
from tools_bench.requests.items import messages_of, read_task
from tools_bench.requests.suite import Task, load_suite
from tools_shared.code import program_for
from tools_shared.prompts import PROFILES
from tools_shared.rewards import load_rewards

pytestmark = pytest.mark.usefixtures("sandbox")
STUB = """import math


def _half(x):
    return x / 2


def radius(area: float) -> float:
    '''The radius of a disc.
    >>> radius(0)
    0.0
    '''
"""
DISC = {
    "task_id": "Own/0",
    "prompt": STUB,
    "entry_point": "radius",
    "test": "def check(candidate):\n    assert candidate(0) == 0\n    assert abs(candidate(math.pi * 4) - 2) < 1e-9\n",
}
VOWELS = {
    "task_id": 11,
    "text": "Write a function to count the vowels of a word.",
    "prompt": "Write a function to count the vowels of a word.",
    "test_list": ["assert vowels('seagull') == 3", "assert vowels('rhythm') == 0"],
}
TOTAL = {
    "question": "Read numbers and print their sum.",
    "input_output": {"inputs": ["1 2\n", "5\n"], "outputs": ["3", "5"]},
}
GOOD = {
    "radius": "```python\ndef radius(area):\n    return math.sqrt(area / math.pi)\n```",
    "vowels": "Count them:\n```python\ndef vowels(word):\n    return sum(c in 'aeiou' for c in word)\n```",
    "sum": "```python\nprint(sum(map(int, input().split())))\n```",
}
BAD = {
    "radius": "```python\ndef radius(area):\n    return area\n```",
    "vowels": "I would count them one by one.",
    "sum": "```python\nprint(3)\n```",
}


def told(text):
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {}}, {}


def run(tmp_path, serve, replies, *more, rows=(DISC, VOWELS, TOTAL)):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = []

    def answer(path, body, number):
        asked.append(body["messages"][-1]["content"])
        name = "radius" if "radius" in asked[-1] else "vowels" if "vowels" in asked[-1] else "sum"
        return told(replies(name, body))

    words = ["run", "--data", tmp_path / "rows.jsonl", "--endpoint", serve(answer).url, "--model-name", "m"]
    words += ["--output-dir", tmp_path / "out", *more]
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    results = tmp_path / "out" / "m" / "benchmark_results.json"
    return done, json.loads(results.read_text()) if results.exists() else None, asked


def test_rows_with_tests_are_told_and_graded_in_the_sandbox(serve, tmp_path):
    done, results, asked = run(tmp_path, serve, lambda name, body: (BAD if name == "sum" else GOOD)[name])

    assert done.exit_code == 0, done.output
    code = results["evaluations"]["code"]["intervals"]
    assert (code["code_pass_at_1"]["estimate"], code["code_pass_at_1"]["n"]) == (pytest.approx(2 / 3), 3)
    assert code["tests_passed"]["estimate"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert results["headline"] == {"code": "code_pass_at_1"}
    assert results["outcomes"] == {"correct": 2, "wrong": 1}
    assert any("vowels('seagull') == 3" in text for text in asked)
    assert not any("outputs" in text or "candidate" in text for text in asked)
    again = CliRunner().invoke(main, ["rescore", str(tmp_path / "out" / "m")], catch_exceptions=False)
    assert "no metric has changed" in again.output, again.output


def test_pass_at_k_over_several_samples(serve, tmp_path):
    def half(name, body):
        return (GOOD if body["seed"] % 2 else BAD)[name]

    done, results, _ = run(tmp_path, serve, half, "--samples", "4", "--temperature", "0.8")

    assert done.exit_code == 0, done.output
    code = results["evaluations"]["code"]["intervals"]
    assert (
        0
        <= code["code_pass_at_1"]["estimate"]
        <= code["code_pass_at_2"]["estimate"]
        <= code["code_pass_at_4"]["estimate"]
        <= 1
    )
    assert code["code_pass_at_4"]["n"] == 3
    assert "code_maj_at_k" not in code
    assert results["outcomes"]["no_answer"] + results["outcomes"]["correct"] + results["outcomes"]["wrong"] == 12


def test_hostile_and_endless_replies_fail_alone(serve, tmp_path):
    replies = {
        "radius": "```python\nimport os\ndef radius(area):\n    os.kill(os.getppid(), 9)\n```",
        "vowels": "```python\ndef vowels(word):\n    while True: pass\n```",
        "sum": GOOD["sum"],
    }
    done, results, _ = run(tmp_path, serve, lambda name, body: replies[name])
    assert done.exit_code == 0, done.output
    assert results["outcomes"] == {"wrong": 2, "correct": 1}


def test_a_suite_names_the_kind_and_rows_without_tests_are_rejected(serve, tmp_path):
    rows = [DISC, {"prompt": "Write it.", "test_list": []}, {**VOWELS, "test_list": ["assert ("]}, TOTAL]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "suite.yaml").write_text(
        "name: mine\ntasks:\n  - {name: programs, kind: code, source: rows.jsonl, metrics: [code_pass_at_1]}\n"
    )
    (task,) = load_suite(str(tmp_path / "suite.yaml")).tasks

    read = read_task(task)

    assert [item.tests.get("entry_point") for item in read.items] == ["radius", None]
    assert [one.reason for one in read.rejected] == [
        '"test_list" contains no test',
        '"test_list.0" is not Python (SyntaxError): assert (',
    ]
    assert messages_of(read.items[0], PROFILES["boxed"])[0].content.count("def radius") == 1


@pytest.mark.parametrize(
    ("reply", "defines"),
    [
        ("```python\ndef radius(area):\n    return _half(area)\n```", "_half(x)"),
        ("    return math.sqrt(area / math.pi)\n", "def radius(area: float)"),
        ("return math.sqrt(area / math.pi)", "def radius(area: float)"),
        ("```python\n    r = area\n    return r\n```", "def radius(area: float)"),
        ("```python\nreturn area\n```", "def radius(area: float)"),
        (STUB + "    return 0.0\n", "return 0.0"),
        ("```python\nfrom __future__ import annotations\ndef radius(area):\n    return 1\n```", "_half(x)"),
    ],
)
def test_a_function_that_the_row_begins(reply, defines):
    program = program_for(reply, DISC)
    assert program.count("def radius") == 1
    assert program.count("import math") == 1
    assert defines in program
    compile(program, "program", "exec")


@pytest.mark.parametrize("reply", ["", "I cannot."])
def test_a_reply_that_does_not_write_the_function(reply):
    program = program_for(reply, DISC)
    assert program is None or "def radius" not in program


def test_the_reward_reads_a_body_too():
    (reward,) = load_rewards(["code:python"], PROFILES["boxed"])
    replies = ["    return math.sqrt(area / math.pi)\n", "    return area\n"]
    columns = {name: [DISC[name]] * 2 for name in ("entry_point", "test")}
    assert reward(["p"] * 2, replies, question=[STUB] * 2, **columns) == [1.0, 0.0]


def test_mathematics_with_ground_truth_is_not_taken_for_code(tmp_path):
    from tools_bench.requests.datasets import suite_of_datasets

    (tmp_path / "m.jsonl").write_text('{"question": "2 + 3", "ground_truth": "5"}\n' * 3)
    assert suite_of_datasets([str(tmp_path / "m.jsonl")]).tasks == (Task("m", "math", str(tmp_path / "m.jsonl")),)
