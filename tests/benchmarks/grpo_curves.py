"""What `grpo_beside_trl.py` wrote, as a figure and in figures: do both ways earn the same rewards?

    python tests/benchmarks/grpo_curves.py curves.jsonl docs/images/grpo-curves.png

The rewards of a prompt's group are paired by seed, step and prompt, which are the same both ways.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from grpo_beside_trl import WAYS
from scipy import stats

COLOURS = {"stock": "#d1662b", "tools-grpo": "#1f5a96"}
WINDOW = 10


def read(path: Path) -> dict[str, np.ndarray]:
    """By way: each group's mean reward, (seeds, steps, groups). Raises ValueError where the prompts differ."""
    lines = sorted(map(json.loads, path.read_text().splitlines()), key=lambda line: line["seed"])
    runs = {way: [line for line in lines if line["way"] == way] for way in WAYS}
    if [run["prompts"] for run in runs["stock"]] != [run["prompts"] for run in runs["tools-grpo"]]:
        raise ValueError(f"{path}: the two ways have not seen the same prompts")
    return {way: np.array([[groups(*step) for step in zip(run["prompts"], run["rewards"], strict=True)] for run in of])
            for way, of in runs.items()}  # fmt: skip


def groups(prompts: list[str], rewards: list[float]) -> list[float]:
    """The mean reward of each prompt, whose completions stand side by side."""
    size = prompts.count(prompts[0])
    return [float(np.mean(rewards[start : start + size])) for start in range(0, len(rewards), size)]


def t_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, low and high (95 %)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half


def windows(values_S_T_G: np.ndarray) -> np.ndarray:
    """(windows, groups of all seeds): steps in windows of ten, first to last."""
    n_seeds, n_steps, n_groups = values_S_T_G.shape
    split = values_S_T_G.reshape(n_seeds, n_steps // WINDOW, WINDOW * n_groups)
    return split.transpose(1, 0, 2).reshape(n_steps // WINDOW, -1)


def report(found: dict[str, np.ndarray]) -> str:
    n_steps = found["stock"].shape[1]
    last = slice(n_steps - n_steps // 4, None)
    lines = ["| mean reward | " + " | ".join(f"steps {i + 1}-{i + WINDOW}" for i in range(0, n_steps, WINDOW)) + " |"]
    lines.append("| --- " * (1 + n_steps // WINDOW) + "|")
    for way, values in found.items():
        lines.append(f"| {way} | " + " | ".join(f"{one.mean():.3f}" for one in windows(values)) + " |")
    gains = found["tools-grpo"] - found["stock"]
    cells = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*t_interval(one)) for one in windows(gains)]
    lines.append("| difference | " + " | ".join(cells) + " |")
    for name, part in (("all steps", gains), ("last quarter", gains[:, last])):
        seeds = part.mean(axis=(1, 2))
        over_seeds = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*t_interval(seeds)) if len(seeds) > 1 else "one seed"
        over_groups = "[{1:+.3f}, {2:+.3f}]".format(*t_interval(part.ravel()))
        lines.append(
            f"{name}: {over_seeds} over seeds ({', '.join(f'{s:+.3f}' for s in seeds)}); {over_groups} over groups"
        )
    return "\n".join(lines)


def draw(found: dict[str, np.ndarray], path: Path) -> None:
    """Left the rewards, a thin line a seed and a thick one for their mean; right their difference by ten steps."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.5), dpi=150, layout="constrained")
    n_seeds, n_steps, n_groups = found["stock"].shape
    for way, values in found.items():
        smooth = np.array([np.convolve(run.mean(axis=1), np.ones(5) / 5, "valid") for run in values])
        steps = np.arange(3, n_steps - 1)
        left.plot(steps, smooth.T, color=COLOURS[way], linewidth=0.7, alpha=0.5)
        left.plot(steps, smooth.mean(axis=0), color=COLOURS[way], linewidth=2, label=way)
    left.set_title(f"mean reward, {n_seeds} seeds and their mean (5 steps)", fontsize=9)
    left.legend(frameon=False, fontsize=8, loc="lower right")
    middle, low, high = np.array([t_interval(one) for one in windows(found["tools-grpo"] - found["stock"])]).T
    right.axhline(0, color="#555555", linewidth=1, linestyle=":")
    places = np.arange(len(middle)) * WINDOW + WINDOW / 2 + 0.5
    right.errorbar(places, middle, [middle - low, high - middle], color=COLOURS["tools-grpo"], marker="o", capsize=3)
    right.set_title(f"difference, by {n_seeds * WINDOW * n_groups} groups, 95 %", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("curves", type=Path)
    parser.add_argument("figure", type=Path)
    given = parser.parse_args()
    found = read(given.curves)
    draw(found, given.figure)
    print(report(found))


if __name__ == "__main__":
    main()
