"""What `--dynamic-sampling` and the limits on pass rates are worth: accuracy on test questions after as many steps.

    python tests/benchmarks/grpo_chosen_groups.py artifacts/prep_sft artifacts/dedup/train.jsonl runs --seeds 0 1 2

trains each way for every seed (what has finished is not done again, what was cut off goes on) and prints the table.
Plain GRPO is there twice: with the same prompts a step, and with as many as dynamic sampling took in all, those given
up included, so that it has the same steps and the same completions.
"""

import argparse
import statistics
from pathlib import Path

from tools_bench.comparison.evaluations import read_scored
from tools_grpo.config import GrpoConfig
from tools_grpo.train import train
from tools_shared.cli import Invocation
from tools_shared.runs import read_manifest, read_metrics
from tools_shared.stats import crossed_difference, crossed_mean

STEPS, PROMPTS, N_PROBLEMS = 64, 16, 256
"""Four passes over the problems: a pass rate is known from the second on."""
TEST = "demo://problems?split=test&size=1024&seed=1"
CHOOSING = {
    "--dynamic-sampling 2": {"dynamic_sampling": 2},
    "--max-pass-rate 0.9 --min-pass-rate 0.05": {"max_pass_rate": 0.9, "min_pass_rate": 0.05},
}
SAME_DRAWS = "plain, same draws as --dynamic-sampling 2"
WAYS = ["plain", *CHOOSING, SAME_DRAWS]


def folder_of(root: Path, way: str, seed: int) -> Path:
    return root / f"{WAYS.index(way)}-{seed}"


def drawn(folder: Path) -> float:
    """Groups sampled in the mean step, those given up included."""
    plain = read_manifest(str(folder)).options["prompts_per_step"]
    return statistics.fmean(row.get("groups/drawn", plain) for row in read_metrics(folder) if "reward" in row)


def options(root: Path, way: str, seed: int) -> dict:
    if way != SAME_DRAWS:
        return {"prompts_per_step": PROMPTS, "batch_size": 32, **CHOOSING.get(way, {})}
    prompts = round(drawn(folder_of(root, "--dynamic-sampling 2", seed)))
    return {"prompts_per_step": prompts, "batch_size": prompts * 2}


def run(root: Path, model: str, problems: str, way: str, seed: int) -> None:
    """The demo's settings (configs/demo/grpo.yaml), but for the number of problems and steps."""
    config = GrpoConfig(
        base_model=model, data=problems, train_samples=N_PROBLEMS, eval_data=TEST, eval_max_new_tokens=128,
        output_dir=str(folder_of(root, way, seed)), seed=seed, max_steps=STEPS, epochs=STEPS, learning_rate=3e-4,
        max_completion_length=96, guard_steps=0, device="cpu", **options(root, way, seed),
    )  # fmt: skip
    train(config, Invocation("tools-grpo", "0"))


def table(root: Path, seeds: list[int]) -> str:
    """Markdown: accuracy and its difference from plain (95 % over questions and seeds), and what was sampled."""
    lines = ["| way | groups drawn a step | accuracy, % | difference from plain |", "| --- " * 4 + "|"]
    right = {}
    for way in WAYS:
        scored = [read_scored(str(folder_of(root, way, seed))).right["accuracy"] for seed in seeds]
        right[way] = [[one[i] for i in sorted(one)] for one in scored]
        folders = [folder_of(root, way, seed) for seed in seeds]
        rate = crossed_mean(right[way])
        gain = crossed_difference(right["plain"], right[way]) if way != "plain" else None
        lines.append(
            f"| {way} | {statistics.fmean(map(drawn, folders)):.1f} | {percent(rate, '.1f')} | "
            f"{percent(gain, '+.1f') if gain else 'baseline'} |"
        )
    start = read_manifest(str(folders[0])).metrics["accuracy_before"]
    return "\n".join(
        [*lines, "", f"start: {100 * start:.1f} %; n = {len(right['plain'][0])} questions, {len(seeds)} seeds"]
    )


def percent(found, form: str) -> str:
    return f"{100 * found.estimate:{form}} [{100 * found.low:{form}}, {100 * found.high:{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("problems")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    for seed in given.seeds:
        for way in WAYS:
            run(given.runs, given.model, given.problems, way, seed)
    print(table(given.runs, given.seeds))


if __name__ == "__main__":
    main()
