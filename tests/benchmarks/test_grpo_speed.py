"""Time of a GRPO step: stock TRL with its own `generate`, and tools-grpo, taking turns in one process.

    GRPO_SPEED_MODEL=artifacts/prep_sft pytest tests/benchmarks/test_grpo_speed.py -s

prints sampling and training apart, medians over rounds; `--benchmark-json` has the ratios as `extra_info`. GRPO_ROUNDS
changes how often they take turns; nothing is asserted on time. Each run's first step is a warm-up and does not count.
Random weights (30 million) nearly never end of themselves, so there both ways sample to the limit, and every group has
spread: nothing is saved by short completions or dead groups.
"""

import os
import statistics
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("GRPO_ROUNDS", "3"))
DEMO = {"prompts_per_step": 16}
RANDOM = {
    "prompts_per_step": 4, "max_completion_length": 48,
    "reward": (f"{HERE / 'grpo_beside_trl.py'}:distinct",),
}  # fmt: skip


@pytest.fixture
def beside(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import grpo_beside_trl

    return grpo_beside_trl


def figures(log) -> list[float]:
    """Means over the steps but the first: wall and processor seconds of all, sampling, training; tokens a second."""
    columns = []
    for whole, sampling in ((log.wall, log.sampling_wall), (log.processor, log.sampling_processor)):
        all_of_it, drawing = statistics.fmean(whole[1:]), statistics.fmean(sampling[1:])
        columns += [all_of_it, drawing, all_of_it - drawing]
    return [*columns, sum(log.tokens[1:]) / sum(log.wall[1:])]


def table(rounds: list[dict[str, list[float]]]) -> str:
    lines = [f"{'':12}{'wall s: all':>12}{'sampling':>10}{'training':>10}{'cpu s: all':>12}"]
    lines[0] += f"{'sampling':>10}{'training':>10}{'tokens/s':>10}"
    for way in rounds[0]:
        middle = [statistics.median(column) for column in zip(*(one[way] for one in rounds), strict=True)]
        lines.append(f"{way:12}" + "{:12.2f}{:10.2f}{:10.2f}{:12.2f}{:10.2f}{:10.2f}{:10.0f}".format(*middle))
    ratios = zip(*([a / b for a, b in zip(*one.values(), strict=True)] for one in rounds), strict=True)
    middle = [statistics.median(column) for column in ratios]
    lines.append("ratio       " + "{:12.2f}{:10.2f}{:10.2f}{:12.2f}{:10.2f}{:10.2f}".format(*middle))
    return "\n".join(lines)


def times_faster(rounds: list[dict[str, list[float]]], column: int) -> list[float]:
    """Of each round, by wall (column 0) or processor seconds (column 3)."""
    return [round(one["stock"][column] / one["tools-grpo"][column], 2) for one in rounds]


@pytest.mark.benchmark(group="grpo step")
@pytest.mark.parametrize("size", ["demo", "30M"])
def test_step(size, beside, benchmark, tmp_path):
    """Stock trains in each round's setup, so that the two take turns; what pytest-benchmark times is all of our run."""
    model = (
        os.environ.get("GRPO_SPEED_MODEL", "demo") if size == "demo" else str(beside.save_random(tmp_path / "random"))
    )
    more, steps = (DEMO, 4) if size == "demo" else (RANDOM, 2)
    logs = []

    def stock():
        config = beside.options(model, steps, seed=len(logs), **more)
        logs.append({"stock": beside.run("stock", config)})
        return (config,), {}

    def ours(config):
        logs[-1]["tools-grpo"] = beside.run("tools-grpo", config)

    benchmark.pedantic(ours, setup=stock, rounds=ROUNDS)
    assert all(one["stock"].prompts == one["tools-grpo"].prompts for one in logs)
    rounds = [{way: figures(log) for way, log in one.items()} for one in logs]
    found = {"wall": times_faster(rounds, 0), "processor": times_faster(rounds, 3)}
    benchmark.extra_info.update({f"{name}_times_faster": values for name, values in found.items()})
    print(f"\n{size}: {more['prompts_per_step']} prompts a step, medians of {len(rounds)} rounds\n{table(rounds)}")
    print("times faster in each round:", found)
