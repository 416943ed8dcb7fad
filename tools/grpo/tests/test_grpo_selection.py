"""Evaluation while GRPO trains: chosen on some problems and reported on others, and the same after a kill."""

import json
import random

import pytest
from click.testing import CliRunner

from tools_grpo.cli import main
from tools_shared.files import sha256_file
from tools_shared.runs import read_manifest, read_metrics

COMMON = [
    "--num-generations", "2", "--prompts-per-step", "2", "--max-completion-length", "16", "--max-steps", "5",
    "--learning-rate", "1e-2", "--reward", "length", "--reward", "verified", "--reward-check", "off", "--save-steps",
    "2", "--lora-dropout", "0.1", "--eval-max-new-tokens", "12",
]  # fmt: skip
CHOICE = ["--validation-split", "0.4", "--eval-steps", "2", "--load-best", "--no-eval"]


@pytest.fixture(scope="module")
def perimeters(tmp_path_factory):
    path = tmp_path_factory.mktemp("perimeters") / "perimeters.jsonl"
    with path.open("w") as file:
        for a in range(3, 23):
            question = f"A garden is {a} m by {a + 2} m. How many metres of fence go around it?"
            file.write(json.dumps({"question": question, "answer": f"2 * ({a} + {a + 2})\n#### {4 * a + 4}"}) + "\n")
    return path


@pytest.fixture(scope="module")
def grpo(trainer):
    return trainer("grpo")


@pytest.fixture(scope="module")
def chosen(grpo, perimeters, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chosen") / "run"
    done = grpo.run("--data", perimeters, *COMMON, *CHOICE, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def results(folder):
    """The adapter, every evaluation and the figures of the choice."""
    rows = [row for row in read_metrics(folder) if "eval_accuracy" in row]
    metrics = read_manifest(folder).metrics
    facts = {name: metrics[name] for name in metrics if name.startswith(("validation", "heldout", "best", "kept"))}
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return sha256_file(folder / "model" / "adapter_model.safetensors"), rows, facts


def test_the_best_is_chosen_on_half_of_the_problems_and_reported_on_the_others(chosen):
    folder, said = chosen
    _, rows, facts = results(folder)
    assert "20 problems, 12 to train on, 8 held out" in said
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert facts["validation_accuracy"]["n"] == 4 == facts["heldout_accuracy"]["n"]
    # Nothing is solved: the first of equals is the best, and it has other weights than the last.
    assert facts["best_step"] == 2 == facts["kept_step"]
    assert "the weights of step 2 are kept, the best accuracy of 3 evaluations" in said
    assert read_manifest(folder).metrics["n_train"] == 12


def test_a_run_killed_while_it_evaluates_and_trains_chooses_the_same(grpo, chosen, perimeters, tmp_path):
    args = ["--data", perimeters, *COMMON, *CHOICE]
    n_lines = sum(1 for _ in read_metrics(chosen[0]))
    grpo.kill([random.randint(3, n_lines - 2)], tmp_path / "killed", *args)
    done = grpo.run(*args, "--output-dir", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "killed") == results(chosen[0])


def test_half_of_the_test_problems_choose_and_the_others_compare_before_and_after(grpo, perimeters, tmp_path):
    """And training is what it is without evaluations, until it is stopped."""
    args = ["--data", perimeters, *COMMON, "--eval-data", perimeters]
    more = ["--eval-samples", "8", "--eval-steps", "1", "--early-stopping-patience", "2"]
    done = grpo.run(*args, *more, "--output-dir", tmp_path / "watched")
    assert done.returncode == 0, done.stderr
    metrics = read_manifest(tmp_path / "watched").metrics
    assert (metrics["steps"], metrics["best_step"], metrics["kept_step"], metrics["stopped_early"]) == (3, 1, 3, True)
    assert metrics["accuracy"]["n"] == 4 == metrics["accuracy_gain"]["n"] == metrics["validation_accuracy"]["n"]
    assert "stopped after step 3: no better accuracy in 2 evaluations" in done.stderr
    plain = grpo.run(*args, "--no-eval", "--max-steps", "3", "--output-dir", tmp_path / "plain")
    assert plain.returncode == 0, plain.stderr
    assert results(tmp_path / "watched")[0] == results(tmp_path / "plain")[0]


def test_problems_without_answers_ask_no_demo_problem(perimeters, tmp_path):
    """Their reward is the user's own; nothing is loaded in a dry run."""
    data = tmp_path / "asked.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"Name {n} trees."}) + "\n" for n in range(10)))
    common = ["--data", str(data), "--question-key", "prompt", "--reward", "length", "--dry-run"]
    done = CliRunner().invoke(main, common)
    assert done.exit_code == 0, done.stderr
    assert "no training row has an answer that can be checked, so accuracy is not measured" in done.stderr
    refused = CliRunner().invoke(main, [*common, "--eval-steps", "2", "--validation-split", "0.5"])
    assert refused.exit_code == 1
    assert "held-out problems without answers cannot be checked" in refused.stderr
    refused = CliRunner().invoke(main, [*common, "--load-best-model-at-end"])
    assert "--load-best needs --eval-steps N" in refused.stderr
