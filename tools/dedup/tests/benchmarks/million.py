"""A million generated rows through `--within --search approximate`: time, memory, and recall against exact search.

    python tools/dedup/tests/benchmarks/million.py SOURCE.jsonl TEST.jsonl STATIC_MODEL FOLDER [ROWS]

A row is two to four sentences of different questions of SOURCE ("question"), with numbers of its own; every third is
an earlier one with some words and numbers changed. Recall: of a sample of rows, how many of those that exact search
finds within the threshold of an earlier kept row have gone. (A row that goes has been re-scored, so none goes wrongly.)
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tools_dedup.config import DedupConfig
from tools_dedup.semantic.models import find_model
from tools_dedup.semantic.vectors import Embedder
from tools_shared.stats import wilson

THRESHOLD = 0.9
SAMPLE = 5000
NUMBER = re.compile(r"\d+")


def generate(source: Path, target: Path, n_rows: int) -> None:
    rng = random.Random(0)
    questions = [json.loads(line)["question"] for line in source.read_text().splitlines()]
    sentences = [s for q in questions for s in re.split(r"(?<=[.?!]) ", q) if len(s) > 20]
    written: list[str] = []
    with target.open("w") as file:
        for i in range(n_rows):
            if i % 3 == 2:
                text = changed(written[rng.randrange(len(written))], rng)
            else:
                text = " ".join(rng.sample(sentences, rng.randint(2, 4)))
                text = NUMBER.sub(lambda _: str(rng.randint(2, 999)), text)
                written.append(text)
            file.write(json.dumps({"question": text, "answer": "#### 1"}) + "\n")


def changed(text: str, rng: random.Random) -> str:
    """One to six words left out or said twice, and about half of the numbers others."""
    words = text.split(" ")
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(words))
        words[at : at + 1] = [] if rng.random() < 0.5 and len(words) > 8 else [words[at]] * 2
    return NUMBER.sub(lambda found: str(rng.randint(2, 999)) if rng.random() < 0.5 else found[0], " ".join(words))


def run(train: Path, test: str, model: str, out: Path, cache: Path) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak GiB of the whole command."""
    command = [
        str(Path(sys.executable).with_name("tools-dedup")), "--train-path", str(train), "--test-path", test,
        "--output-path", str(out), "--model", model, "--threshold", str(THRESHOLD), "--within", "--search",
        "approximate", "--cache-dir", str(cache),
    ]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def recall(train: Path, kept: Path, model: str, cache: Path) -> tuple[int, int]:
    """(gone, should have gone) among SAMPLE distinct texts, the first row of each."""
    texts = list(dict.fromkeys(json.loads(line)["question"] for line in train.open()))
    stays = {json.loads(line)["question"] for line in kept.open()}
    vectors = Embedder(find_model(model), DedupConfig(cache_dir=str(cache))).vectors(texts, "train").all()
    kept_at = np.array([i for i, text in enumerate(texts) if text in stays])
    rng = np.random.default_rng(0)
    gone = wanted = 0
    for block in np.array_split(np.sort(rng.choice(len(texts), SAMPLE, replace=False)), 20):
        near = vectors[block] @ vectors[kept_at].T >= THRESHOLD
        near &= kept_at[None] < block[:, None]
        went = np.array([texts[i] not in stays for i in block])
        wanted += int((near.any(axis=1) | went).sum())
        gone += int(went.sum())
    return gone, wanted


def main() -> None:
    source, test, model, folder = Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
    n_rows = int(sys.argv[5]) if len(sys.argv) > 5 else 1_000_000
    train, out, cache = folder / "train.jsonl", folder / "kept.jsonl", folder / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    if not train.exists():
        generate(source, train, n_rows)
    wall, work, memory = run(train, test, model, out, cache)
    print(f"{n_rows} rows: {wall:.0f} s, {work:.0f} processor s, peak {memory:.2f} GiB", flush=True)
    gone, wanted = recall(train, out, model, cache)
    interval = wilson(gone, wanted)
    print(f"recall {gone} of {wanted}: {interval.estimate:.4f} [{interval.low:.4f}, {interval.high:.4f}]")


if __name__ == "__main__":
    main()
