"""Time of a GRPO step: stock TRL with its own `generate`, and tools-grpo, taking turns in one process.

    TOOLS_GRPO_MODEL=artifacts/prep_sft pytest tests/benchmarks/test_grpo_speed.py -s

prints sampling and training apart, medians over rounds. GRPO_ROUNDS changes how often they take turns; nothing is
asserted on time. Each run's first step is a warm-up and does not count. Random weights (30 million) nearly never end of
themselves, so there both ways sample to the limit, and every group has spread: nothing is saved by short completions or
dead groups.
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


def show(title: str, rounds: list[dict[str, list[float]]]) -> None:
    print(
        f"\n{title}, medians of {len(rounds)} rounds\n{'':12}{'wall s: all':>12}{'sampling':>10}{'training':>10}",
        end="",
    )
    print(f"{'cpu s: all':>12}{'sampling':>10}{'training':>10}{'tokens/s':>10}")
    for way in rounds[0]:
        middle = [statistics.median(column) for column in zip(*(one[way] for one in rounds), strict=True)]
        print(f"{way:12}" + "{:12.2f}{:10.2f}{:10.2f}{:12.2f}{:10.2f}{:10.2f}{:10.0f}".format(*middle))
    ratios = list(zip(*([a / b for a, b in zip(*one.values(), strict=True)] for one in rounds), strict=True))
    print("ratio       " + "".join(f"{statistics.median(column):11.2f}" for column in ratios[:6]))
    for name, column in (("wall", ratios[0]), ("processor", ratios[3])):
        print(f"{name} ratio of each round: " + ", ".join(f"{value:.2f}" for value in column))


@pytest.mark.parametrize("size", ["demo", "30M"])
def test_step(size, beside, tmp_path):
    model = (
        os.environ.get("TOOLS_GRPO_MODEL", "demo") if size == "demo" else str(beside.save_random(tmp_path / "random"))
    )
    more, steps = (DEMO, 4) if size == "demo" else (RANDOM, 2)
    rounds = []
    for seed in range(ROUNDS):
        config = beside.options(model, steps, seed=seed, **more)
        logs = {way: beside.run(way, config) for way in beside.WAYS}
        assert logs["stock"].prompts == logs["tools-grpo"].prompts
        rounds.append({way: figures(log) for way, log in logs.items()})
        print(f"round {seed}: {rounds[-1]}", flush=True)
    show(f"{size}: {config.prompts_per_step} prompts x {config.num_generations}", rounds)
