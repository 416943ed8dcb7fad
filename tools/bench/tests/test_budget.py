"""`tools-bench budget`: what is read from the runs, the table's numbers, and refusals."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from tools_bench.budget import read_trained
from tools_bench.budgets.points import by_budget
from tools_bench.cli import main
from tools_shared.cli import Invocation
from tools_shared.evaluation import COLUMNS
from tools_shared.runs import RunConfig, draft
from tools_shared.stats import crossed_difference, crossed_mean, tango_interval, wilson

N = 120


def bench(*words):
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def right_of(way, rows, seed):
    """Which questions such a run gets right: more with more rows, and full_sft more than grpo."""
    rng = np.random.default_rng([len(way), rows, seed])
    return rng.random(N) < {"full_sft": 0.5, "grpo": 0.4}[way] + rows / 2000


def write_run(folder, way, rows, seed, question="What is {i} + {i}?", right=None):
    """A finished run as tools-sft and tools-grpo leave it, its model left out."""
    right = right_of(way, rows, seed) if right is None else right
    with draft(folder, RunConfig(str(folder)), Invocation("tools-sft", "0.1.0"), way) as run:
        with run.debug_path(".csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for i in range(N):
                row = {"id": str(i), "question": question.format(i=i), "labeled_answer": str(2 * i)}
                writer.writerow({**row, "correct": bool(right[i]), "lenient_correct": bool(right[i] or i < 20)})
        run.finish({"n_train": rows}, seed=seed)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("budgets")
    for way in ("full_sft", "grpo"):
        for rows in (100, 200):
            for seed in (0, 1, 2):
                write_run(folder / f"{way}-{rows}-{seed}", way, rows, seed)
    write_run(folder / "start", "prep_sft", 10, 0, right=np.arange(N) < 30)
    return folder


def test_rates_and_paired_gains_are_over_questions_and_seeds(runs):
    trained = [read_trained(str(path)) for path in sorted(runs.glob("*-*"))]
    found = by_budget(trained)
    assert [(p.way, p.rows, p.seeds) for p in found.points] == [
        (way, rows, (0, 1, 2)) for way in ("full_sft", "grpo") for rows in (100, 200)
    ]
    by_name = sorted(map(str, range(N)))
    right = {
        w: np.array([right_of(w, 200, s)[list(map(int, by_name))] for s in range(3)]) for w in ("full_sft", "grpo")
    }
    sft, grpo = (next(p for p in found.points if (p.way, p.rows) == (way, 200)) for way in ("full_sft", "grpo"))
    assert sft.rates["accuracy"] == crossed_mean(right["full_sft"])
    assert sft.gains is None
    assert grpo.gains["accuracy"] == crossed_difference(right["full_sft"], right["grpo"])
    assert grpo.rates["accuracy_lenient"].estimate > grpo.rates["accuracy"].estimate


def test_table_figure_and_json_are_published(runs, tmp_path):
    given = sorted(runs.glob("*-*"))
    done = bench("budget", *given, "--start", runs / "start", "--output-dir", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "grpo      200" in done.output
    with (tmp_path / "out" / "budget.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert rows[0]["accuracy_difference"] == ""
    assert float(rows[3]["accuracy_difference_low"]) < float(rows[3]["accuracy_difference"]) < 0
    assert float(rows[3]["accuracy_low"]) < float(rows[3]["accuracy"]) < float(rows[3]["accuracy_lenient"])
    found = json.loads((tmp_path / "out" / "budget.json").read_text())
    assert found["start"]["accuracy"]["estimate"] == 0.25
    assert len(found["points"][0]["accuracy"]["by_seed"]) == 3
    assert (tmp_path / "out" / "budget.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "budget.md").read_text().startswith("| run | rows | strict accuracy |")
    assert (
        "already finished"
        in bench("budget", *given, "--start", runs / "start", "--output-dir", tmp_path / "out").output
    )


def test_one_seed_has_the_interval_of_its_questions(runs):
    found = by_budget([read_trained(str(runs / "full_sft-100-0")), read_trained(str(runs / "grpo-100-1"))])
    right = right_of("full_sft", 100, 0)
    assert found.points[0].rates["accuracy"] == wilson(int(right.sum()), N)
    assert found.points[1].gains is None  # another seed: not paired


def test_a_difference_is_over_the_seeds_that_both_have(runs):
    names = ("full_sft-100-0", "full_sft-100-1", "full_sft-100-2", "grpo-100-2")
    grpo = by_budget([read_trained(str(runs / name)) for name in names]).points[1]
    alone = tango_interval(*lost_and_won(right_of("full_sft", 100, 2), right_of("grpo", 100, 2)), N)
    assert grpo.gains["accuracy"] == alone


def lost_and_won(base, right):
    return int((base & ~right).sum()), int((right & ~base).sum())


def test_what_cannot_be_compared_is_refused(runs, tmp_path):
    other = write_run(tmp_path / "other", "grpo", 100, 0, question="What is {i} - {i}?")
    again = write_run(tmp_path / "again", "full_sft", 100, 0)
    sft = runs / "full_sft-100-0"
    for words, message in (
        ([sft, other], "not the same test"),
        ([sft, again], "both are full_sft on 100 rows with seed 0; leave one out"),
        ([sft, tmp_path / "gone"], "gone"),
    ):
        done = bench("budget", *words, "--output-dir", tmp_path / "out")
        assert done.exit_code == 1
        assert message in done.output


def test_a_run_that_trained_nothing_is_refused(runs, tmp_path):
    with draft(
        tmp_path / "eval", RunConfig(str(tmp_path / "eval")), Invocation("tools-sft", "0.1.0"), "base_eval"
    ) as run:
        run.finish({})
    done = bench("budget", tmp_path / "eval", "--output-dir", tmp_path / "out")
    assert (done.exit_code, "trained no model" in done.output) == (1, True)
