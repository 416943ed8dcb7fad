"""A local model: `tools-bench run --model-path` beside lm-eval's `hf` backend, the same prompts, greedy, same replies.

    pytest tests/benchmarks/test_bench_local.py --benchmark-only -s

512 problems of the demo, at most 128 new tokens, 64 at a time at lm-eval. Whole processes, one after the other, a round
each; lm-eval is in the extra: pip install -c constraints.txt 'tools-bench[benchmark]'.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools_shared.models import resolve
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems

pytest.importorskip("lm_eval", reason="lm-eval is not here; install 'tools-bench[benchmark]'")
pytestmark = pytest.mark.slow

N, NEW_TOKENS, ROUNDS, BATCH = 512, 128, 3, 64
DATA = f"demo://problems?split=test&size={N}"
BIN = Path(sys.executable).parent

TASK = """
task: demo
dataset_path: json
dataset_kwargs: {{data_files: {{test: {prompts}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{gold}}}}"
target_delimiter: ""
generation_kwargs: {{until: ["<|im_end|>"], do_sample: false, max_gen_toks: {new_tokens}}}
metric_list: [{{metric: exact_match}}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The suite for us, and the same prompts as a task for lm-eval."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("local")
    tokenizer = AutoTokenizer.from_pretrained(resolve("demo").weights)
    problems = read_problems(DATA).items
    prompts = [render_question(tokenizer, PROFILES["gsm8k-tags"], p.question) for p in problems]
    rows = [{"prompt": r.text, "gold": p.answer} for r, p in zip(prompts, problems, strict=True)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task").mkdir()
    (folder / "task" / "demo.yaml").write_text(TASK.format(prompts=folder / "prompts.jsonl", new_tokens=NEW_TOKENS))
    (folder / "demo.yaml").write_text(f"name: demo\ntasks:\n  - {{name: demo, kind: math, source: '{DATA}'}}\n")
    return folder


def ours(folder, i):
    words = ["run", "--model-path", "demo", "--suite", folder / "demo.yaml", "--max-new-tokens", NEW_TOKENS]
    return [BIN / "tools-bench", *words, "--device", "cpu", "--output-dir", folder / f"ours{i}"]


def lm_eval(folder, i):
    model = f"pretrained={resolve('demo').weights},dtype=float32"
    words = ["run", "--model", "hf", "--model_args", model, "--tasks", "demo", "--include_path", folder / "task"]
    words += ["--device", "cpu", "--batch_size", BATCH, "--log_samples", "--output_path", folder / f"theirs{i}"]
    return [BIN / "lm_eval", *words]


def our_replies(folder, i):
    lines = (folder / f"ours{i}" / "demo" / "responses.jsonl").read_text().splitlines()
    found = {row["id"]: row["text"].strip() for row in map(json.loads, lines)}
    return [found[p.id] for p in read_problems(DATA).items]


def their_replies(folder, i):
    (path,) = (folder / f"theirs{i}").rglob("samples_demo_*.jsonl")
    rows = sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["doc_id"])
    return [row["resps"][0][0].strip() for row in rows]


@pytest.mark.benchmark(group="local model")
def test_twice_as_fast_as_lm_eval(benchmark, folder):
    seconds = {"tools-bench run": [], "lm-eval hf": []}
    numbers = iter(range(ROUNDS))

    def one_round():
        i = next(numbers)
        for name, command in {"tools-bench run": ours(folder, i), "lm-eval hf": lm_eval(folder, i)}.items():
            began = time.perf_counter()
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            seconds[name].append(time.perf_counter() - began)
            assert done.returncode == 0, done.stderr[-2000:]

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=0)
    for name, found in seconds.items():
        print(f"{name:>16}: median {statistics.median(found):.2f} s of {[round(s, 2) for s in found]}")
    ratio = statistics.median(seconds["lm-eval hf"]) / statistics.median(seconds["tools-bench run"])
    same = sum(a == b for a, b in zip(our_replies(folder, 0), their_replies(folder, 0), strict=True))
    print(f"lm-eval / tools-bench: {ratio:.2f}; {same} of {N} replies the same")
    benchmark.extra_info |= {"ratio": round(ratio, 2), "same": same}
    assert same == N
    assert ratio >= 2
