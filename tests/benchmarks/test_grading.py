"""Time per graded answer, ours and math-verify's side by side on the same solutions; nothing is asserted on time.

    pytest tests/benchmarks/test_grading.py --benchmark-only

Both take the answer out of a whole solution and compare it with the gold one. The caches of ours are emptied before
every round, as math-verify's is too small to help it. Ratios: the medians of both in one run.
"""

import json
import random
from pathlib import Path

import pytest

from tools_shared.answers import equal, extract, gold_answer
from tools_shared.answers.equal import _read
from tools_shared.answers.items import _is_number, is_label
from tools_shared.prompts import PROFILES

SOLUTIONS = Path(__file__).parents[3] / "shared/data/gsm8k/example_model_solutions.jsonl"
N_SAMPLES = 200

pytest.importorskip("math_verify", reason="math-verify is not installed (tools-shared[symbolic])")


def real_pairs() -> list[tuple[str, str]]:
    """(gold, solution): real solutions of GSM8K by four models."""
    with SOLUTIONS.open(encoding="utf-8") as lines:
        rows = [json.loads(next(lines)) for _ in range(N_SAMPLES)]
    models = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
    golds = [row["ground_truth"].rpartition("A: ")[2].strip() for row in rows]
    return [(gold, row[models[i % 4]]["solution"]) for i, (gold, row) in enumerate(zip(golds, rows, strict=True))]


def generated_pairs() -> list[tuple[str, str]]:
    """(gold, solution) in the same form, for a machine without the real ones."""
    rng, pairs = random.Random(0), []
    for _ in range(N_SAMPLES):
        a, b, error = rng.randint(2, 90), rng.randint(2, 90), rng.choice((0, 0, 1))
        steps = f"He buys {a} boxes of {b} apples.\nThat is {a} * {b} = <<{a}*{b}={a * b}>>{a * b} apples."
        pairs.append((str(a * b), f"{steps}\nA: {a * b + error}"))
    return pairs


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    return real_pairs() if SOLUTIONS.is_file() else generated_pairs()


def forget() -> None:
    for cached in (_read, _is_number, is_label):
        cached.cache_clear()


def grade_ours(pairs: list[tuple[str, str]]) -> list[bool]:
    forget()
    profile = PROFILES["gsm8k-tags"]
    return [equal(gold, extract(text, profile, lenient=True).answer or "").correct for gold, text in pairs]


def grade_math_verify(pairs: list[tuple[str, str]]) -> list[bool]:
    from math_verify import parse, verify

    return [verify(parse(gold), parse(text)) for gold, text in pairs]


@pytest.mark.parametrize("grade", [grade_ours, grade_math_verify])
def test_grading_whole_solutions(benchmark, pairs, grade):
    benchmark.extra_info["answers_per_round"] = len(pairs)
    verdicts = benchmark.pedantic(grade, args=(pairs,), rounds=5, warmup_rounds=1)
    assert len(verdicts) == len(pairs)
    assert 0 < sum(verdicts) < len(pairs)


ENDINGS = {
    "box": "The answer is \\boxed{{{}}}.",
    "hash": "#### {}",
    "bold": "**Answer:** {}",
    "is": "Therefore, the answer is {}.",
    "sentence": "So she has {} apples left.",
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("grade", [grade_ours, grade_math_verify])
def test_grading_other_endings(benchmark, pairs, grade, ending):
    """The same solutions with another last line; those that have no answer in theirs are left out."""
    parts = [(gold, *text.rpartition("\nA: ")) for gold, text in pairs]
    texts = [(gold, f"{steps}\n{ENDINGS[ending].format(answer)}") for gold, steps, mark, answer in parts if mark]
    benchmark.extra_info["answers_per_round"] = len(texts)
    assert any(benchmark.pedantic(grade, args=(texts,), rounds=5, warmup_rounds=1))


@pytest.mark.parametrize("grade", [grade_ours, grade_math_verify])
def test_grading_answers_alone(benchmark, pairs, grade):
    """Only the last line, `A: 18`: what math-verify does best."""
    last_lines = [(gold, text.rpartition("\n")[2]) for gold, text in pairs]
    benchmark.extra_info["answers_per_round"] = len(last_lines)
    assert any(benchmark.pedantic(grade, args=(last_lines,), rounds=5, warmup_rounds=1))


def test_gold_answers_of_gsm8k_solutions(benchmark, pairs):
    texts = [f"{text}\n#### {gold}" for gold, text in pairs]
    found = benchmark(lambda: [gold_answer(text) for text in texts])
    assert found == [gold for gold, _ in pairs]


def symbolic_pairs() -> list[tuple[str, str]]:
    """Right and wrong answers that need algebra, each unlike the others, so that no cache helps."""
    pairs = []
    for n in range(2, 14):
        pairs += [
            (f"(x+{n})^2", f"x^2+{2 * n}x+{n * n}"),
            (f"(x+{n})^2", f"x^2+{2 * n}x+{n * n + 1}"),
            (f"\\frac{{1}}{{\\sqrt{{{n}}}}}", f"\\frac{{\\sqrt{{{n}}}}}{{{n}}}"),
            (f"{n}\\sqrt{{2}}", f"\\sqrt{{{2 * n * n + 1}}}"),
            (f"({n},\\frac{{\\pi}}{{{n}}})", f"(\\frac{{{2 * n}}}{{2}},\\frac{{\\pi}}{{{n}}})"),
            (f"\\sin {2 * n}x", f"2\\sin {n}x\\cos {n}x"),
            (f"{n}^{{k+1}}", f"{n}\\cdot {n}^k"),
        ]
    return pairs


def compare_ours(pairs: list[tuple[str, str]]) -> list[bool]:
    forget()
    return [equal(gold, given).correct for gold, given in pairs]


def compare_math_verify(pairs: list[tuple[str, str]]) -> list[bool]:
    from math_verify import parse, verify

    return [verify(parse(f"${gold}$"), parse(f"${given}$")) for gold, given in pairs]


@pytest.mark.parametrize("compare", [compare_ours, compare_math_verify])
def test_symbolic_answers(benchmark, compare):
    """Ours with its process and its limits, started before; math-verify in this one."""
    pairs = symbolic_pairs()
    compare(pairs[:2])
    benchmark.extra_info["answers_per_round"] = len(pairs)
    verdicts = benchmark.pedantic(compare, args=(pairs,), rounds=3, warmup_rounds=1)
    assert sum(verdicts) == 5 * len(pairs) // 7
