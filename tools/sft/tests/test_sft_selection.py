"""Evaluation while SFT trains: chosen on some rows and reported on others, and the same after a kill."""

import json
import random

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from tools_sft.cli import main
from tools_sft.config import SftConfig
from tools_sft.data.encoding import encode_record
from tools_shared.files import sha256_file
from tools_shared.models import load, resolve
from tools_shared.prompts import load_profile
from tools_shared.runs import read_manifest, read_metrics
from tools_shared.sources import read_examples
from tools_shared.training.selection.split import apart


@pytest.fixture(scope="module")
def areas(tmp_path_factory):
    """Rectangles, whose areas no demo problem asks for."""
    path = tmp_path_factory.mktemp("areas") / "areas.jsonl"
    rows = [(a, b) for a in range(3, 12) for b in range(4, 9)]
    with path.open("w") as file:
        for a, b in rows:
            question = f"A rectangular sheet is {a} cm wide and {b} cm long. What is its area in square centimetres?"
            file.write(json.dumps({"question": question, "answer": f"{a} * {b} = {a * b}\n#### {a * b}"}) + "\n")
    return path


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    """Rows without an answer that could be checked."""
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    with path.open("w") as file:
        for i in range(100):
            asked = {"role": "user", "content": f"How do I repot fern number {i}?"}
            said = {"role": "assistant", "content": f"Take a pot {i % 7 + 1} cm wider and water it well."}
            file.write(json.dumps({"messages": [asked, said]}) + "\n")
    return path


CHOICE = [
    "--validation-split", "0.4", "--eval-steps", "2", "--load-best", "--early-stopping-patience", "2", "--best-by",
    "accuracy", "--eval-max-new-tokens", "24", "--batch-size", "4", "--lora-dropout", "0.2", "--save-steps", "3",
    "--epochs", "3", "--learning-rate", "8e-3", "--lr-scheduler", "constant",
]  # fmt: skip


@pytest.fixture(scope="module")
def sft(trainer):
    return trainer("sft")


@pytest.fixture(scope="module")
def chosen(sft, areas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chosen") / "run"
    done = sft.run("--data", areas, *CHOICE, "--no-eval", "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stderr


def evaluations(folder):
    rows = [row for row in read_metrics(folder) if "eval_loss" in row]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def facts(folder):
    metrics = read_manifest(folder).metrics
    return {
        name: metrics[name] for name in metrics if name.startswith(("validation", "heldout", "best", "kept", "stop"))
    }


def adapter(folder):
    return sha256_file(folder / "model" / "adapter_model.safetensors")


def test_the_best_is_chosen_on_half_of_the_rows_and_reported_on_the_others(chosen, areas):
    folder, said = chosen
    metrics, found = read_manifest(folder).metrics, evaluations(folder)
    assert "45 rows read, 27 used, 18 held out, 0 rejected" in said
    assert metrics["best_step"] == max(found, key=lambda row: row["eval_accuracy"])["step"] == metrics["kept_step"]
    assert metrics["validation_accuracy"]["n"] == 9 == metrics["heldout_accuracy"]["n"]
    assert {"mean", "low", "high", "n"} == set(metrics["validation_loss"]) == set(metrics["heldout_loss"])
    best = next(row for row in found if row["step"] == metrics["best_step"])
    assert metrics["validation_accuracy"]["estimate"] == best["eval_accuracy"]
    assert f"the weights of step {metrics['best_step']} are kept" in said
    assert "on rows that chose nothing; " in said


def test_the_saved_model_has_the_losses_that_are_reported(chosen, areas):
    """By transformers' own forward, on the rows that were held out."""
    folder, _ = chosen
    loaded, profile = load(resolve(str(folder))), load_profile("gsm8k-tags")
    _, held = apart(read_examples(str(areas)).items, 0.4, 0)
    choosing, reporting = apart(held, 0.5, 1)
    for rows, name in ((choosing, "validation_loss"), (reporting, "heldout_loss")):
        total = n = 0
        for row in rows:
            (example,) = encode_record(loaded.tokenizer, profile, row, SftConfig().loss_on)
            ids = torch.tensor([example.token_ids])
            with torch.no_grad():
                logps = loaded.model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            learned = torch.tensor(example.loss_mask[1:])
            total, n = total - logps[learned].sum().item(), n + int(learned.sum())
        assert read_manifest(folder).metrics[name]["mean"] == pytest.approx(total / n, abs=1e-5)


@pytest.mark.slow
def test_a_run_killed_again_and_again_chooses_the_same(sft, chosen, areas, tmp_path):
    folder, args = tmp_path / "killed", ["--data", areas, *CHOICE, "--no-eval"]
    n_lines = sum(1 for _ in read_metrics(chosen[0]))
    # The last kill comes when every line is written: nothing is trained after it.
    sft.kill([random.randint(2, n_lines - 1), n_lines], folder, *args)
    done = sft.run(*args, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert adapter(folder) == adapter(chosen[0])
    assert evaluations(folder) == evaluations(chosen[0])
    assert facts(folder) == facts(chosen[0])


def test_evaluations_leave_training_as_it_is(sft, areas, tmp_path):
    common = ["--data", areas, "--batch-size", "4", "--max-steps", "5", "--lora-dropout", "0.2", "--eval-data", areas]
    common += ["--eval-samples", "8", "--eval-max-new-tokens", "8"]
    for name, more in (("plain", ["--no-eval"]), ("watched", ["--eval-steps", "2", "--best-by", "accuracy"])):
        done = sft.run(*common, *more, "--output-dir", tmp_path / name)
        assert done.returncode == 0, done.stderr
    assert adapter(tmp_path / "plain") == adapter(tmp_path / "watched")
    assert [row["step"] for row in evaluations(tmp_path / "watched")] == [2, 4, 5]
    metrics = read_manifest(tmp_path / "watched").metrics
    assert metrics["validation_loss"]["n"] == 4 == metrics["accuracy"]["n"]  # the half that chose nothing is asked
    assert metrics["kept_step"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--sharding", "fsdp2"]], ids=["copies", "sharded"])
def test_two_processes_choose_as_one(sft, chosen, areas, tmp_path, more):
    args = ["--data", areas, *CHOICE, "--no-eval", "--lora-dropout", "0"]
    assert sft.run(*args, "--output-dir", tmp_path / "one").returncode == 0
    halves = ["--batch-size", "2", "--gradient-accumulation", "2", "--processes", "2", *more]
    done = sft.run(*args, *halves, "--output-dir", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one, two = (facts(tmp_path / name) for name in ("one", "two"))
    assert (one["best_step"], one["stopped_early"]) == (two["best_step"], two["stopped_early"])
    assert two["heldout_accuracy"] == one["heldout_accuracy"]
    assert two["heldout_loss"]["mean"] == pytest.approx(one["heldout_loss"]["mean"], abs=2e-3)
    weights = [load_file(tmp_path / name / "model" / "adapter_model.safetensors") for name in ("one", "two")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-3) for name in weights[0])


def test_rows_without_answers_are_measured_by_their_loss_and_ask_no_demo_problem(sft, chats, tmp_path):
    done = sft.run("--data", chats, "--max-steps", "3", "--output-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "no training row has an answer that can be checked, so accuracy is not measured" in done.stderr
    assert "100 rows read, 92 used, 8 held out, 0 rejected" in done.stderr
    metrics = read_manifest(tmp_path / "run").metrics
    assert "accuracy" not in metrics
    assert metrics["heldout_loss"]["mean"] < metrics["heldout_loss_before"]["mean"]
    assert [i["name"] for i in read_manifest(tmp_path / "run").data["inputs"]] == ["base_model", "train"]


def test_of_few_rows_without_answers_none_is_held_out_and_named_problems_are_asked(sft, chats, areas, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(chats.read_text().splitlines(keepends=True)[:20]))
    args = ["--data", few, "--max-steps", "1", "--eval-max-new-tokens", "8"]
    done = sft.run(*args, "--output-dir", tmp_path / "few")
    assert done.returncode == 0, done.stderr
    assert "20 rows read, 20 used, 0 rejected" in done.stderr
    assert "heldout_loss" not in read_manifest(tmp_path / "few").metrics
    done = sft.run(*args, "--eval-data", areas, "--eval-samples", "4", "--output-dir", tmp_path / "asked")
    assert done.returncode == 0, done.stderr
    assert read_manifest(tmp_path / "asked").metrics["accuracy"]["n"] == 4


def test_a_run_resumed_after_its_last_step_makes_no_other(sft, areas, tmp_path):
    """Its last step is in the middle of an epoch."""
    args = ["--data", areas, "--eval-data", areas, "--batch-size", "8", "--max-steps", "4", "--save-steps", "1"]
    folder = tmp_path / "run"
    process = sft.stopped_at(4, folder, *args, "--eval-max-new-tokens", "300", number=15)
    said = process.stderr.read()
    assert process.wait() == 3, said
    done = sft.run(*args, "--eval-max-new-tokens", "300", "--logging-steps", "1", "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in read_metrics(folder)] == [1, 2, 3, 4]
    assert read_manifest(folder).metrics["steps"] == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--load_best_model_at_end"], "--load-best needs --eval-steps N"),
        (["--eval_steps", "2", "--metric_for_best_model", "eval_accuracy"], "--best-by accuracy needs held-out rows"),
        (["--eval-steps", "2", "--validation-split", "0.02"], "--validation-split 0.02 of 100 rows are too few"),
        (["--eval-steps", "2", "--validation-split", "0"], "--eval-steps needs rows that are not trained on"),
        (["--val_size", "0.7"], "--validation-split must be between 0 and 0.5, got 0.7"),
        (["--best-by", "accuracy"], "--best-by has no effect without --eval-steps"),
        (["--eval_strategy", "steps"], "--eval-steps N"),
        (["--backend", "tinker", "--eval-steps", "2"], "--eval-steps 2 is not possible with --backend tinker"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(chats, args, message):
    done = CliRunner().invoke(main, ["--data", str(chats), "--dry-run", *args])
    assert done.exit_code in (1, 2)
    assert message in done.stderr
