"""Evaluated runs of any size, for tests and timings of the dashboard."""

from __future__ import annotations

import random
from pathlib import Path

from tools_bench.report.entries import Entry
from tools_shared.runs.read import Manifest

WORDS = "a train leaves the station with apples for pupils and their teacher who counts pages by hours".split()


def made_runs(n_runs: int, n_rows: int) -> list[Entry]:
    """Runs that were evaluated on the same questions, with replies of about 90 words."""
    rng = random.Random(0)
    return [_run(i, n_rows, rng) for i in range(n_runs)]


def _run(number: int, n_rows: int, rng: random.Random) -> Entry:
    name = f"run-{number:05d}"
    right = [rng.random() < 0.6 for _ in range(n_rows)]
    rate = sum(right) / n_rows
    data = {
        "kind": "grpo", "run_id": name, "tool": "tools-grpo", "tool_version": "0.2.0", "inputs": [], "outputs": {},
        "started": "2026-01-01T00:00:00+00:00", "finished": "2026-01-01T00:10:00+00:00", "metrics": {},
    }  # fmt: skip
    return Entry(
        name,
        Manifest(Path(name), data, name),
        metrics={"accuracy": {"estimate": rate, "low": rate - 0.01, "high": rate + 0.01, "n": n_rows}},
        headline=["accuracy"],
        examples=[_example(i, good, rng) for i, good in enumerate(right)],
        n_rows=n_rows,
        means={("", str(i)): {"accuracy": float(good)} for i, good in enumerate(right)},
        test=f"{n_rows} problems",
    )


def _example(number: int, good: bool, rng: random.Random) -> dict[str, object]:
    text = " ".join(rng.choices(WORDS, k=90))
    question = f"Question {number}: " + " ".join(rng.choices(WORDS, k=30))
    return {
        "key": f"/{number}", "name": f"question {number}", "kind": "math", "question": question, "gold": str(number),
        "answer": str(number), "text": text, "outcome": "correct" if good else "wrong", "good": good,
        "truncated": False, "values": {"accuracy": float(good)},
    }  # fmt: skip
