from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import pytest

from tools_shared.cli import Invocation
from tools_shared.engines import Completion, SamplingParams
from tools_shared.errors import ToolError
from tools_shared.evaluation import (
    COLUMNS,
    EvalConfig,
    evaluate,
    evaluate_in_run,
    grade,
    rates,
    read_csv,
    read_test_problems,
    write_csv,
)
from tools_shared.files import csv_cells
from tools_shared.models import load, resolve
from tools_shared.prompts import PROFILES, Prompt
from tools_shared.records import Problem
from tools_shared.runs import RunConfig, draft
from tools_shared.runs.card import show_metric

TAGS = PROFILES["gsm8k-tags"]
PROBLEM = Problem("p", "How many?", "1,000", "10 * 100 = 1000")


def graded(text, profile=TAGS, finish="stop", opened=False):
    prompt = Prompt("", (), opened)
    return grade(PROBLEM, prompt, Completion(text, tuple(range(len(text.split()))), finish), profile)


@pytest.mark.parametrize(
    ("text", "strict", "lenient", "verdict"),
    [
        (TAGS.completion("a", "1000"), True, True, "correct"),
        (TAGS.completion("a", "$1,000.00"), True, True, "correct"),
        (TAGS.completion("a", "999"), False, False, "wrong"),
        (TAGS.completion("a", "1000 or 999"), False, False, "wrong"),
        ("The answer is 1000.", False, True, "no_answer"),
        ("<SOLUTION>1000</SOLUTION>", True, True, "correct"),
        ("<start_working_out>so 1000", False, False, "no_answer"),
        ("", False, False, "no_answer"),
    ],
)
def test_strict_asks_for_the_tags_and_lenient_does_not(text, strict, lenient, verdict):
    result = graded(text)
    assert (result.correct, result.lenient_correct) == (strict, lenient)
    assert result.verdict == verdict or (verdict == "wrong" and result.verdict == "unparseable")


def test_a_prompt_that_opens_the_tag_is_taken_into_account():
    think = PROFILES["think"]
    text = think.completion("10 * 100 = 1000", "1000", opened=True)
    assert graded(text, think, opened=True).correct
    assert graded(text, think, opened=True).well_formed


def test_rates_carry_interval_and_n():
    results = [
        graded(TAGS.completion("a", "1000")),
        graded(TAGS.completion("a", "7")),
        graded("The answer is 1000."),
        graded("<start_working_out>so", finish="length"),
    ]
    metrics = rates(results)
    assert {name: metrics[name]["estimate"] for name in metrics if name != "mean_tokens"} == {
        "accuracy": 0.25,
        "accuracy_lenient": 0.5,
        "thinking_proportion": 0.75,
        "answer_proportion": 0.5,
        "truncated_proportion": 0.25,
    }
    assert metrics["accuracy"]["n"] == 4
    # Wilson's interval for 1 of 4, from its formula with z = 1.959964.
    assert (metrics["accuracy"]["low"], metrics["accuracy"]["high"]) == pytest.approx((0.0456, 0.6994), abs=1e-4)
    assert show_metric(metrics["accuracy"]) == "25.0 % [4.6, 69.9], n=4"


def test_per_example_file_keeps_the_known_columns_and_any_text(tmp_path):
    results = [graded(text) for text in ('a "quoted", text\nwith lines', "=1+1", "\ufffd<SOLUTION>1000</SOLUTION>")]
    write_csv(tmp_path / "a.csv", results)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv_cells.read_dicts(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["generated_text"] for row in rows] == [result.completion.text for result in results]
    assert [row["correct"] for row in read_csv(tmp_path / "a.csv")] == ["False", "False", "True"]


def test_another_csv_is_refused(tmp_path):
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ToolError, match="not the per-example CSV of an evaluation"):
        read_csv(tmp_path / "b.csv")
    head = "id,question,labeled_answer,correct,lenient_correct\n"
    (tmp_path / "c.csv").write_text(f"{head}a,?,1,TRUE,false\n")
    assert [(row["correct"], row["lenient_correct"]) for row in read_csv(tmp_path / "c.csv")] == [("True", "False")]
    for torn, message in (("Yes,True", "correct is 'Yes'"), ("True", "lenient_correct is ''")):
        (tmp_path / "d.csv").write_text(f"{head}a,?,1,{torn}\n")
        with pytest.raises(ToolError, match=rf"d\.csv: row 1: {message}, not True or False"):
            read_csv(tmp_path / "d.csv")


def test_the_demo_model_is_evaluated_end_to_end(demo):
    from tools_shared.engines.local.engine import TransformersEngine
    from tools_shared.sources import read_problems

    problems = read_problems("demo://problems?split=test&size=6").items
    engine = TransformersEngine(demo.model, demo.tokenizer)
    evaluation = evaluate(engine, problems, TAGS, SamplingParams(max_new_tokens=64))
    assert [g.problem.id for g in evaluation.graded] == [p.id for p in problems]
    assert evaluation.metrics["accuracy"]["n"] == 6


def evaluated(folder, model, **options):
    """What an evaluation inside a run writes: its metrics and the per-example rows."""
    config = InRun(
        output_dir=str(folder), eval_data="demo://problems?split=test&size=8", eval_max_new_tokens=24, **options
    )
    with draft(folder, config, Invocation("tools-test", "0"), "test") as run:
        tests = read_test_problems(config)
        metrics = evaluate_in_run(run, model, tests.items, TAGS, config).metrics
        rows = read_csv(run.debug_path(".csv"))
        run.finish(metrics)
    return metrics, rows


@dataclass(frozen=True)
class InRun(EvalConfig, RunConfig):
    TOOL: ClassVar[str] = "test"


def test_a_model_in_memory_and_one_that_is_named_are_evaluated_alike(tmp_path):
    ref = resolve("demo")
    named = evaluated(tmp_path / "a", ref, engine="transformers")
    assert named == evaluated(tmp_path / "b", load(ref, device="cpu"))
    assert named[0]["accuracy"]["n"] == 8


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_an_engine_that_is_missing_is_said_before_anything_is_trained():
    with pytest.raises(ToolError, match="--engine vllm needs vLLM"):
        read_test_problems(InRun(engine="vllm"))
    with pytest.raises(ToolError, match="--engine must be one of transformers, vllm, got 'http'"):
        InRun(engine="http")
