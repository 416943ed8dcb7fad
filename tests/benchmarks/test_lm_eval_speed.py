"""A real model, SmolLM2-135M: `tools-bench run --model` beside lm-eval's `hf` backend, whole processes in turn.

    LM_EVAL=~/lm-eval/bin/lm_eval pytest tests/benchmarks/test_lm_eval_speed.py --benchmark-only -s

prints processor and wall seconds of each, medians of LM_EVAL_ROUNDS (3), and their ratio; nothing is asserted on time.
LM_EVAL_ROWS are the rows of the two tests of multiple choice (500); written replies are to an eighth as many questions.
Times are in the format in which the weights are stored, bf16. Whether both say the same is looked at once, in fp32:
in bf16 a logit has 8 bits, options often tie, and the shape of a batch decides. `make models/smollm2` makes the model.
"""

import os
import statistics
from pathlib import Path

import pytest

from tools_bench.likelihood.texts import reading
from tools_bench.requests.items import read_task
from tools_bench.requests.suite import Task

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
MODEL = Path(os.environ.get("SMOLLM2_MODEL", HERE.parents[1] / "models" / "smollm2"))
ROUNDS = int(os.environ.get("LM_EVAL_ROUNDS", "3"))
N = int(os.environ.get("LM_EVAL_ROWS", "500"))
N_SAME = min(N, 64)
BATCH = 32
NEW_TOKENS = 64


@pytest.fixture
def beside(monkeypatch):
    """The module beside this file."""
    monkeypatch.syspath_prepend(HERE)
    import lm_eval_beside

    if lm_eval_beside.lm_eval_program() is None:
        pytest.skip("lm-eval is not here; install 'tools-bench[benchmark]', or name its program: LM_EVAL=.../lm_eval")
    if not MODEL.is_dir():
        pytest.skip(f"there is no {MODEL}; run make models/smollm2")
    return lm_eval_beside


def turns(benchmark, beside, ours, theirs):
    """Both commands, `ours(i, dtype)` and `theirs(i, dtype)`, in turn; shows the seconds and keeps the ratios."""
    found = {"tools-bench run": [], "lm-eval hf": []}
    numbers = iter(range(ROUNDS))

    def one_round():
        i = next(numbers)
        found["tools-bench run"].append(beside.seconds(ours(i, "bf16")))
        found["lm-eval hf"].append(beside.seconds(theirs(i, "bfloat16")))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=0)
    print()
    for name, took in found.items():
        for what, seconds in zip(("processor", "wall"), zip(*took, strict=True), strict=True):
            print(f"{name:>16}: {statistics.median(seconds):7.1f} {what} seconds of {[round(s, 1) for s in seconds]}")
    for i, what in enumerate(("processor", "wall")):
        pairs = zip(found["lm-eval hf"], found["tools-bench run"], strict=True)
        ratio = statistics.median(theirs[i] / ours[i] for theirs, ours in pairs)
        print(f"lm-eval / tools-bench, {what}: {ratio:.2f}")
        benchmark.extra_info[what] = round(ratio, 2)


@pytest.mark.benchmark(group="written replies, SmolLM2")
def test_written_replies(beside, benchmark, tmp_path):
    data, task = beside.word_problems(tmp_path, max(8, N // 8), MODEL, NEW_TOKENS)
    few, few_task = beside.word_problems(tmp_path / "few", 8, MODEL, NEW_TOKENS)

    def ours(i, dtype, data=data):
        words = ["--model", MODEL, "--data", data, "--max-new-tokens", NEW_TOKENS, "--dtype", dtype]
        return beside.tools_bench(*words, "--output-dir", tmp_path / f"ours{i}")

    def theirs(i, dtype, task=task):
        return beside.lm_eval(task, MODEL, dtype, BATCH, tmp_path / f"theirs{i}")

    turns(benchmark, beside, ours, theirs)
    beside.seconds(ours("same", "fp32", few))
    beside.seconds(theirs("same", "float32", few_task))
    said = {row["id"]: row["text"].strip() for row in beside.our_rows(tmp_path / "ourssame" / MODEL.name)}
    asked = {row["doc_id"]: row for row in beside.their_rows(tmp_path / "theirssame")}
    for i, row in asked.items():
        assert said[f"w{i}"] == row["resps"][0][0].strip()


@pytest.mark.benchmark(group="multiple choice by log-probability, SmolLM2")
@pytest.mark.parametrize(("by", "n_examples"), [("letters", 5), ("letters", 0), ("texts", 0)])
def test_choice(beside, benchmark, tmp_path, by, n_examples):
    """Five solved examples before each question, as MMLU is asked, or none; the letters, or the options' texts."""
    many, many_task = written(beside, tmp_path, N, by, n_examples)
    few, few_task = written(beside, tmp_path / "few", N_SAME, by, n_examples)

    def ours(i, dtype, data=many):
        words = ["--model", MODEL, "--data", data, "--choice-by", by, "--dtype", dtype]
        return beside.tools_bench(*words, "--output-dir", tmp_path / f"ours{i}")

    def theirs(i, dtype, task=many_task):
        return beside.lm_eval(task, MODEL, dtype, BATCH, tmp_path / f"theirs{i}")

    turns(benchmark, beside, ours, theirs)
    beside.seconds(ours("same", "fp32", few))
    beside.seconds(theirs("same", "float32", few_task))
    mine = {row["id"]: row for row in beside.our_rows(tmp_path / "ourssame" / MODEL.name)}
    for item, row in zip(items_of(few), beside.their_rows(tmp_path / "theirssame"), strict=True):
        scores = [float(one[0][0]) for one in row["resps"]]
        assert mine[item.id]["scores"] == pytest.approx(scores, abs=1e-3)
        right = "ABCDEFGHIJ".index(item.answer)
        normed = [s / n for s, n in zip(mine[item.id]["scores"], mine[item.id]["lengths"], strict=True)]
        assert row["acc"] == (best(mine[item.id]["scores"]) == right)
        assert row["acc_norm"] == (best(normed) == right)


def best(scores):
    return max(range(len(scores)), key=scores.__getitem__)


def items_of(data):
    return read_task(Task("rows", "choice", str(data))).items


def written(beside, folder, n, by, n_examples):
    """Our rows, and a task for lm-eval with the same texts: options in the order in which we show them."""
    folder.mkdir(exist_ok=True)
    data = beside.write_rows(folder / "rows.jsonl", list(beside.choice_rows(n, n_examples=n_examples)))
    read = [reading(item, by) for item in items_of(data)]
    docs = [
        {"context": one.context, "options": [text[1:] for text in one.continuations]}
        | {"right": "ABCDEFGHIJ".index(one.item.answer)}
        for one in read
    ]
    prompts = beside.write_rows(folder / "prompts.jsonl", docs)
    (folder / "chosen.yaml").write_text(beside.CHOSEN.format(prompts=prompts))
    return data, folder / "chosen.yaml"
