"""The grader against people's labels and against itself, on real answers."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools_shared.answers import equal, equal_many, extract
from tools_shared.prompts import PROFILES

DATA = Path(__file__).parents[3] / "shared/data"
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the folder ../shared/data with real data is not there"),
]


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def graded(sample: tuple[str, str]) -> bool:
    gold, solution = (extract(text, PROFILES["gsm8k-tags"], lenient=True).answer for text in sample)
    return equal(gold, solution or "").correct


@pytest.mark.parametrize("threads", [1, 8])
def test_every_labelled_gsm8k_solution_is_graded_as_labelled(threads):
    labelled = [(row, row[m]) for row in rows("gsm8k/example_model_solutions.jsonl") for m in MODELS]
    samples = [(row["ground_truth"], solution["solution"]) for row, solution in labelled]
    with ThreadPoolExecutor(threads) as executor:
        verdicts = list(executor.map(graded, samples))
    assert len(verdicts) == 5276
    wrong = [
        s
        for s, verdict, (_, solution) in zip(samples, verdicts, labelled, strict=True)
        if verdict != solution["is_correct"]
    ]
    assert wrong == []


def math_golds() -> list[str]:
    return [row["answer"] for row in rows("math/math500.jsonl")]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda gold: gold,
        lambda gold: gold.replace("\\frac", "\\dfrac"),
        lambda gold: f"${gold}$",
        lambda gold: f" \\boxed{{{gold}}}. ",
        lambda gold: gold.replace("\\left", "").replace("\\right", ""),
        lambda gold: gold if "\\" in gold else gold.replace("(", "\\left( ").replace(")", " \\right)"),
        lambda gold: gold.replace("^\\circ", "^{\\circ}"),
        lambda gold: gold.replace("^\\circ", ""),
        lambda gold: gold.replace("\\$", ""),
    ],
    ids=["same", "dfrac", "dollars", "boxed", "no left", "left", "braced degrees", "no degrees", "no currency"],
)
def test_every_math_answer_equals_itself_rewritten(rewrite):
    golds = math_golds()
    verdicts = equal_many([(gold, rewrite(gold)) for gold in golds], threads=2)
    assert [gold for gold, verdict in zip(golds, verdicts, strict=True) if not verdict.correct] == []


def test_no_other_problems_answer_is_accepted():
    """Except `x=5` for 5, which is the same answer."""
    golds = math_golds()
    pairs = [(gold, golds[(i + shift) % len(golds)]) for shift in (1, 7, 50) for i, gold in enumerate(golds)]
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    verdicts = equal_many(pairs, threads=2)
    accepted = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.correct]
    assert accepted == [("5", "x=5")]
    assert all(verdict.status in ("wrong", "unparseable", "correct") for verdict in verdicts)
