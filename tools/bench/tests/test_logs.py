"""Logs of other harnesses as runs of this tool: real ones of lm-eval 0.4.13 and inspect_ai 0.3.285 (SmolLM2, in
tests/logs), and rows in the shapes of lighteval's and NeMo-Skills'."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools_bench.cli import main

LOGS = Path(__file__).parent / "logs"


def bench(*words):
    return CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)


def imported(harness, path, folder):
    done = bench("import", harness, path, "--output-dir", folder)
    assert done.exit_code == 0, done.output
    return json.loads((folder / "benchmark_results.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lm_eval_rates_come_out_as_lm_eval_printed_them(tmp_path):
    results = imported("lm-eval", LOGS / "lm_eval", tmp_path / "run")
    (said,) = (LOGS / "lm_eval").glob("results_*.json")
    printed = json.loads(said.read_text())["results"]
    for task, metrics in results["theirs"].items():
        assert metrics
        for name, entry in metrics.items():
            key = name if "," in name else f"{name},none"
            assert entry["theirs"]["estimate"] == pytest.approx(printed[task][key])
            assert entry["theirs"]["n"] == 12


def test_every_difference_from_lm_eval_is_explained(tmp_path):
    results = imported("lm-eval", LOGS / "lm_eval", tmp_path / "run")
    rows = lines(tmp_path / "run" / "differences.jsonl")
    counted = [e["only_theirs"] + e["only_ours"] for metrics in results["theirs"].values() for e in metrics.values()]
    assert len(rows) == sum(counted) > 0
    for row in rows:
        assert row["why"]
        assert row["theirs"] != row["ours"]
        # The log holds what lm-eval took, so that the reason is never that it does not.
        assert row["extracted_theirs"] is not None
        if row["metric"] == "acc_norm":  # another option is likeliest when its length counts
            assert row["why"] == "another answer is taken for the final one"


def test_a_choice_by_log_probability_is_that_of_lm_eval(tmp_path):
    results = imported("lm-eval", LOGS / "lm_eval", tmp_path / "run")
    entry = results["theirs"]["sums_choice"]["acc"]
    assert entry["both_right"] + entry["both_wrong"] == entry["replies"] == 12


def test_inspect_archives_and_json_are_the_same_run(tmp_path):
    archive = imported("inspect", LOGS / "inspect", tmp_path / "archive")
    assert archive["model_name"] == "hf/smollm2"
    assert archive["hashes"]["sampling"]["samples"] == 2
    assert set(archive["theirs"]) == {"words", "sums"}
    responses = lines(tmp_path / "archive" / "responses.jsonl")
    assert len(responses) == 24
    assert {r["sample"] for r in responses} == {0, 1}
    assert all(r["tokens_out"] for r in responses)


def test_a_run_goes_to_inspect_and_comes_back(tmp_path):
    before = imported("lm-eval", LOGS / "lm_eval", tmp_path / "run")
    assert bench("export", "inspect", tmp_path / "run").exit_code == 0
    again = bench("export", "inspect", tmp_path / "run")
    assert again.exit_code == 0, again.output
    after = imported("inspect", tmp_path / "run-inspect", tmp_path / "back")
    for kind, evaluation in before["evaluations"].items():
        for name, entry in evaluation["intervals"].items():
            assert after["evaluations"][kind]["intervals"][name]["estimate"] == pytest.approx(entry["estimate"])
            task = "sums_choice" if kind == "text_match" else "words"
            assert after["theirs"][task][name]["theirs"]["estimate"] == pytest.approx(entry["estimate"])


def test_two_harnesses_are_paired_by_the_words_of_their_items(tmp_path):
    imported("lm-eval", LOGS / "lm_eval", tmp_path / "lm")
    imported("inspect", LOGS / "inspect", tmp_path / "inspect")
    refused = bench("compare", tmp_path / "lm", tmp_path / "inspect", "--output-dir", tmp_path / "a")
    assert refused.exit_code == 1
    assert "are not alike" in refused.output
    done = bench("compare", tmp_path / "lm", tmp_path / "inspect", "--allow-mismatch", "--output-dir", tmp_path / "b")
    assert done.exit_code == 0, done.output
    assert "n = 6 items" in done.output


CAPITALS = [
    ("Which city is the capital of Kenya?", ["Nairobi", "Mombasa", "Kisumu"], 0),
    ("And of Peru?", ["Cusco", "Lima"], 1),
]


def test_lighteval_details(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = []
    for number, (question, options, gold) in enumerate(CAPITALS):
        doc = {"query": question, "choices": options, "gold_index": [gold], "id": str(number), "task_name": "capitals"}
        response = {"input": question, "text": [f"{options[0]}."], "logprobs": []}
        rows.append({"doc": doc, "model_response": response, "metric": {"em": float(gold == 0)}})
    folder = tmp_path / "details" / "my-model" / "2026-01-02T03-04-05.678"
    folder.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "details_capitals|0_2026-01-02T03-04-05.678.parquet")
    results = imported("lighteval", tmp_path / "details", tmp_path / "run")
    assert results["model_name"] == "my-model"
    entry = results["theirs"]["capitals|0"]["em"]
    assert (entry["both_right"], entry["both_wrong"], entry["only_theirs"], entry["only_ours"]) == (1, 1, 0, 0)


def test_nemo_samples_of_two_files_are_of_one_item_whatever_their_order(tmp_path):
    folder = tmp_path / "eval-results" / "algebra"
    folder.mkdir(parents=True)
    asked = {"What is $x$ if $2x=7$?": r"\frac{7}{2}", "Simplify $\\sqrt{8}$.": r"2\sqrt{2}"}
    for seed in range(2):
        rows = [
            {"problem": question, "expected_answer": gold, "generation": rf"So \boxed{{{gold if seed else 0}}}.",
             "predicted_answer": gold if seed else "0", "symbolic_correct": bool(seed), "num_generated_tokens": 9}
            for question, gold in asked.items()
        ]  # fmt: skip
        ordered = rows[::-1] if seed else rows
        (folder / f"output-rs{seed}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ordered))
    results = imported("nemo", folder, tmp_path / "run")
    math = results["evaluations"]["math_accuracy"]
    assert math["total"] == 2
    assert math["accuracy_lenient"] == 0.5
    assert math["pass_at_2"] == 1
    assert results["theirs"]["algebra"]["symbolic_correct"]["both_right"] == 2


def test_what_cannot_be_used_is_told_by_file_and_line(tmp_path):
    (source,) = (LOGS / "lm_eval").glob("samples_words_*.jsonl")
    log = tmp_path / source.name
    log.write_text(source.read_text() + '{"doc_id": 99, "resps": [["4"]]}\n[1]\n{"a": 1}\n')
    done = bench("import", "lm-eval", log, "--output-dir", tmp_path / "run")
    assert done.exit_code == 0, done.output
    assert "15 replies read, 12 used, 3 rejected" in done.output
    rejected = lines(tmp_path / "run" / "rejected.jsonl")
    n = len(source.read_text().splitlines())
    assert sorted(row["line"] for row in rejected) == [n + 1, n + 2, n + 3]


@pytest.mark.parametrize("harness", ["lm-eval", "inspect", "lighteval", "nemo"])
def test_a_folder_without_a_log_is_one_line(harness, tmp_path):
    done = bench("import", harness, tmp_path, "--output-dir", tmp_path / "run")
    assert done.exit_code == 1
    assert done.output.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_torn_archive_is_one_line_and_a_lying_one_is_not_unpacked(tmp_path):
    source = next((LOGS / "inspect").glob("*.eval"))
    torn = tmp_path / "torn.eval"
    torn.write_bytes(source.read_bytes()[:-400])
    assert "not readable as an .eval file" in bench("import", "inspect", torn, "--output-dir", tmp_path / "a").output
    other = tmp_path / "other.eval"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("header.json", "{}")
    done = bench("import", "inspect", other, "--output-dir", tmp_path / "b")
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    whole = tmp_path / "whole.eval"
    shutil.copyfile(source, whole)
    data = bytearray(whole.read_bytes())
    at = data.rfind(b"PK\x01\x02")  # the directory's last entry, whose size becomes another
    data[at + 24 : at + 28] = (1 << 29).to_bytes(4, "little")
    whole.write_bytes(data)
    assert "not readable as an .eval file" in bench("import", "inspect", whole, "--output-dir", tmp_path / "c").output
