"""Containment alone over many generated rows: rows a second, and memory for each test text.

    python tools/dedup/tests/benchmarks/contains_million.py [ROWS] [TESTS]

Texts of 47 words sampled by a power law from 30,000 words, numbers among them. Every row is two such texts (question
and answer); every thousandth has a test text inside it, word for word.
"""

import itertools
import random
import resource
import sys
import time

import numpy as np

from tools_dedup.containment.contains import Containment
from tools_shared.stats import wilson

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnoprstuvw", k=3 + n % 8)) for n in range(30_000)]
SHARES = list(itertools.accumulate(1 / (n + 10) for n in range(len(WORDS))))
EVERY = 1000


def texts(seed: int, n: int) -> list[str]:
    drawn = random.Random(seed)
    return [
        " ".join([*drawn.choices(WORDS, cum_weights=SHARES, k=45), str(drawn.randrange(1000)), "units"])
        for _ in range(n)
    ]


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(n_rows: str = "1000000", n_tests: str = "100000") -> None:
    tests = texts(0, int(n_tests))
    np.ones(1000).sum()  # numpy, which every run loads, is there before the index is measured
    before = peak()
    started = time.process_time()
    containment = Containment(tests)
    print(f"index of {len(tests)} test texts: {time.process_time() - started:.1f} s processor time, "
          f"{(peak() - before) / len(tests):.0f} bytes a test text at the peak", flush=True)  # fmt: skip
    pool = texts(1, 20_000)
    spent, n_planted, n_done = 0.0, 0, 0
    for start in range(0, int(n_rows), 10_000):
        drawn = random.Random(start)
        rows = [{"question": drawn.choice(pool), "answer": drawn.choice(pool)} for _ in range(10_000)]
        for i in range(0, len(rows), EVERY):
            rows[i]["answer"] += " " + tests[drawn.randrange(len(tests))] + " " + drawn.choice(pool)
            n_planted += 1
        begun = time.process_time()
        for i, row in enumerate(rows):
            containment.add(start + i, row["question"], row)
        containment.flush()
        spent += time.process_time() - begun
        n_done += len(rows)
    hits = sum(row % EVERY == 0 for row in containment.found)
    rate = wilson(hits, n_planted)
    speed, others = n_done / spent, len(containment.found) - hits
    found = f"{hits} of {n_planted} ({100 * rate.estimate:.2f} % [{100 * rate.low:.2f}, {100 * rate.high:.2f}])"
    print(f"{n_done} rows: {spent:.1f} s processor time, {speed:.0f} rows a second, peak {peak() / 2**20:.0f} MiB")
    print(f"planted and found: {found}, other rows: {others}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
