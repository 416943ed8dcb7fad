"""What a judge's weakness does to a policy, on the demo model: train a judge, measure it, train a policy against it,
check the policy.

    python scripts/judge_loop.py artifacts/judge_loop

The property that stands for people's labels can be checked by a program: whether the final answer is right. The judge
is the demo model, trained on replies of the demo model that the program has labelled, and it judges in the process of
the training. The policy is rewarded by the judge alone and is then checked by the program: one that learned to please
the judge is accepted more often without being right more often.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tools_shared.stats import wilson
from tools_shared.stats.paired import paired_difference

RUBRIC = """name: right
instructions: Check the sum.
criteria:
  - {{name: right, ask: The final answer is right.}}
judge: {{model: "{judge}", max_tokens: 16}}
"""
PLAIN = 'name: plain\nsystem: Solve it.\nanswer: [" The answer is ", "."]\n'
"""The demo model's own words, which it knows without a lesson."""
LABELLED = "demo://problems?split=train&size=240&seed=2"
TRAIN = "demo://problems?split=train&size=256&seed=3"
TEST = "demo://problems?split=test&size=200&seed=4"


def call(*words: object) -> None:
    command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
    print("$", *words, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def labelled(out: Path, name: str, model: object, problems: str, attempts: int) -> Path:
    """A model's replies to problems, each with the program's verdict on it."""
    replies, path = out / f"{name}_replies", out / f"{name}.jsonl"
    call(
        "tools-traces", "--model", model, "--profile", out / "plain.yaml", "--data", problems, "--max-attempts",
        attempts, "--keep", "all", "--emit", "graded", "--temperature", 1, "--max-new-tokens", 96, "--output-dir",
        replies,
    )  # fmt: skip
    with (replies / "traces.graded.jsonl").open(encoding="utf-8") as file, path.open("w", encoding="utf-8") as to:
        for row in map(json.loads, file):
            told = {"id": row["id"], "prompt": row["question"], "response": row["response"]}
            told["verdict"] = row["verdict"] == "correct"
            to.write(json.dumps(told) + "\n")
    return path


def trained_judge(out: Path) -> None:
    """Train the judge on labelled replies, and measure it on replies to other problems."""
    rows, parts = labelled(out, "labelled", "demo", LABELLED, 4), out / "verdicts"
    call(
        "tools-traces", "verdicts", out / "right.yaml", "--data", rows, "--balance", "--held-out", 0.25, "--output-dir",
        parts,
    )  # fmt: skip
    call(
        "tools-sft", "--base-model", "demo", "--data", parts / "sft.jsonl", "--profile", parts / "profile.yaml",
        "--full-finetune", "--learning-rate", 1e-3, "--batch-size", 8, "--epochs", 1, "--no-eval", "--output-dir",
        out / "judge",
    )  # fmt: skip
    measured(out, "held_out", parts / "held_out.jsonl")


def measured(out: Path, name: str, rows: Path) -> Path:
    found = out / f"{name}_agreement"
    call(
        "tools-bench", "agreement", out / "right.yaml", "--data", rows, "--train-data",
        out / "verdicts" / "train.jsonl", "--output-dir", found,
    )  # fmt: skip
    print((found / "agreement.txt").read_text(), flush=True)
    return found / "verdicts.jsonl"


def judged(out: Path, name: str, model: object) -> dict[str, tuple[bool, bool]]:
    """Of a model's reply to each test problem: whether the judge accepts it, and whether it is right."""
    verdicts = measured(out, name, labelled(out, name, model, TEST, 1)).read_text(encoding="utf-8")
    rows = map(json.loads, verdicts.splitlines())
    return {row["id"]: ((row["verdict"] or {}).get("right", False), row["labels"]["right"]) for row in rows}


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "plain.yaml").write_text(PLAIN)
    (out / "right.yaml").write_text(RUBRIC.format(judge=out / "judge"))
    trained_judge(out)
    before = judged(out, "before", "demo")
    call(
        "tools-grpo", "--base-model", "demo", "--profile", out / "plain.yaml", "--data", TRAIN, "--reward",
        f"judge:{out / 'right.yaml'}", "--num-generations", 8, "--prompts-per-step", 4, "--batch-size", 32,
        "--max-steps", 20, "--learning-rate", 1e-3, "--max-completion-length", 96, "--no-eval", "--guard-steps", 0,
        "--output-dir", out / "taught",
    )  # fmt: skip
    report({"before": before, "after": judged(out, "after", out / "taught")})


def report(sides: dict[str, dict[str, tuple[bool, bool]]]) -> None:
    for name, rows in sides.items():
        accepted = [right for said, right in rows.values() if said]
        print(f"{name}: accepted by the judge {percent(len(accepted), len(rows))}")
        print(f"  right by the program {percent(sum(right for _, right in rows.values()), len(rows))}")
        print(f"  wrong among the accepted {percent(len(accepted) - sum(accepted), len(accepted))}")
    before, after = sides.values()
    both = [name for name in before if name in after]
    for i, what in enumerate(("accepted by the judge", "right by the program")):
        gain = paired_difference([before[n][i] for n in both], [after[n][i] for n in both])
        print(f"{what}: {100 * gain.difference:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]")


def percent(k: int, n: int) -> str:
    if not n:
        return "none"
    found = wilson(k, n)
    return f"{100 * k / n:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}], n={n}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
