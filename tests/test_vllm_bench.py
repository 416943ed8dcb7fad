"""`tools-bench` and the real vLLM: the quick suite in this process, against its server, and with it as the judge.

Every command is a process of its own, as a user's is: one vLLM a process.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

BENCH = Path(sys.executable).with_name("tools-bench")
N_QUICK = 30
SAMPLING = ["--suite", "quick", "--max-new-tokens", "96"]


def bench(*words, code=0):
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    command = [str(BENCH), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr[-3000:]
    return done


def texts(folder):
    rows = map(json.loads, (folder / "responses.jsonl").read_text().splitlines())
    return {(row["task"], row["id"]): row["text"] for row in rows}


def results(folder):
    return json.loads((folder / "benchmark_results.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def here(folder):
    """The quick suite on the demo with the transformers engine: what the others have to say too."""
    bench("run", "--model-path", "demo", "--model-name", "here", "--device", "cpu", *SAMPLING, "--output-dir", folder)
    return folder / "here"


@pytest.fixture(scope="module")
def server(vllm_server, tmp_path_factory):
    # A model as small as the demo fills what the form leaves open with white space.
    form = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    words = ["--max-model-len", "2048", "--structured-outputs-config", form]
    with vllm_server(tmp_path_factory.mktemp("serve"), *words) as address:
        yield address


@pytest.fixture(scope="module")
def served(server, folder):
    bench("run", "--model-name", "demo", "--endpoint", server, *SAMPLING, "--output-dir", folder)
    return folder / "demo"


def test_the_quick_suite_offline(here, folder):
    words = ["--model-path", "demo", "--model-name", "offline", "--device", "cpu", "--engine", "vllm"]
    bench("run", *words, *SAMPLING, "--output-dir", folder)
    assert texts(folder / "offline") == texts(here)
    assert results(folder / "offline")["evaluations"] == results(here)["evaluations"]


def test_the_quick_suite_on_the_server(served, here):
    found = results(served)
    assert texts(served) == texts(here)
    assert found["evaluations"] == results(here)["evaluations"]
    assert found["effort"]["responses"] == N_QUICK
    assert found["effort"]["failed"] == 0
    assert found["effort"]["tokens_out"] > 0


def test_the_same_weights_are_no_different(served, here, folder):
    done = bench("compare", here, served, "--output-dir", folder / "compare", "--fail-on", "accuracy_lenient")
    assert "0 flips" in done.stderr
    found = json.loads((folder / "compare" / "comparison.json").read_text())
    assert found["improvements"] == found["regressions"] == {}


def test_several_draws_on_the_server(server, folder):
    words = ["--model-name", "demo", "--endpoint", server, "--limit", "3", "--samples", "4", "--temperature", "1"]
    bench("run", *words, "--suite", "quick", "--max-new-tokens", "48", "--output-dir", folder / "draws")
    found = results(folder / "draws" / "demo")
    assert found["effort"]["responses"] == 36
    assert {"pass_at_2", "pass_at_4", "maj_at_k"} <= found["evaluations"]["math_accuracy"].keys()


def test_a_real_model_that_cannot_judge_stops_the_run(server, served, folder):
    """The demo knows no rubric: nothing that it says is a judgement, and nothing is taken for one."""
    words = ["--model-name", "judged", "--model-path", "demo", "--device", "cpu", *SAMPLING, "--output-dir", folder]
    done = bench("run", *words, "--judge-endpoint", server, "--judge-model", "demo", code=3)
    assert "no judgement of the rubric's form in the reply" in done.stderr
    assert not (folder / "judged").exists()


def test_a_real_model_that_is_held_to_the_form_judges(server, folder):
    """What the demo judges means nothing; that its judgements are read, counted and compared is the point."""
    words = ["--model-name", "held", "--model-path", "demo", "--device", "cpu", *SAMPLING, "--output-dir", folder]
    done = bench("run", *words, "--judge-endpoint", server, "--judge-model", "demo", "--judge-schema")
    found = results(folder / "held")
    judge = found["judge"]
    assert (judge["judged"], judge["failed"]) == (N_QUICK, 0)
    agreement = judge["agreement_with_detectors"]
    assert set(agreement) >= {"accuracy_lenient", "socratic_step_rate", "refusal_rate", "false_refusal_rate"}
    assert all(0 <= entry["agree"] <= entry["n"] for entry in agreement.values())
    assert "correct_direction_rate" in found["evaluations"]["tutoring_quality"]
    assert re.search(r"agrees with accuracy_lenient on \d+ of", done.stderr)
