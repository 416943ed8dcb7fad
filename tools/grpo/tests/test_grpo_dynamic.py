"""Zero-variance groups and solved problems are replaced, every sample is counted, and a kill changes nothing."""

import json
from collections import Counter, defaultdict
from random import Random

import pytest

from tools_grpo.config import GrpoConfig
from tools_grpo.ledgers.prompts import PromptLedger
from tools_grpo.rollouts.dynamic_sampling import shuffled
from tools_grpo.rollouts.judge import Judge, has_spread
from tools_shared.engines import Completion
from tools_shared.errors import ToolError
from tools_shared.files import sha256_file
from tools_shared.prompts import DEFAULT_PROFILE, PROFILES
from tools_shared.rewards import load_rewards
from tools_shared.runs import read_manifest, read_metrics

REWARD = """
def half_solved(completions, answer, **columns):
    return [
        1.0 if int(gold) % 2 else 2.0 if f">{gold}<" in text else float(len(text) % 2)
        for text, gold in zip(completions, answer)
    ]
"""
N_STEPS = 8
ARGS = [
    "--train-samples", "24", "--prompts-per-step", "4", "--num-generations", "4", "--batch-size", "8",
    "--max-steps", str(N_STEPS), "--max-completion-length", "24", "--learning-rate", "1e-3", "--lora-dropout", "0.1",
    "--save-steps", "2", "--no-eval",
]  # fmt: skip
CHOOSING = ["--dynamic-sampling", "2", "--min-pass-rate", "0.1", "--max-pass-rate", "0.9"]


@pytest.fixture(scope="module")
def args(tmp_path_factory):
    """Odd answers are solved whatever is sampled; of even ones about half."""
    path = tmp_path_factory.mktemp("reward") / "reward.py"
    path.write_text(REWARD)
    return [*ARGS, "--reward", f"{path}:half_solved"]


@pytest.fixture(scope="module")
def grpo(trainer):
    return trainer("grpo")


@pytest.fixture(scope="module")
def unbroken(grpo, args, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grpo") / "unbroken"
    done = grpo.run(*args, *CHOOSING, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert "given up" in done.stderr
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def groups(folder, n=4):
    """For each step its groups, each a problem and the rewards of its completions."""
    found = {}
    for path in sorted((folder / "rollouts").glob("*.jsonl")):
        rows = lines(path)
        found[rows[0]["step"]] = [
            (rows[i]["problem"], [row["reward"] for row in rows[i : i + n]]) for i in range(0, len(rows), n)
        ]
    return found


def check_ledger(folder):
    """Attempts and passes only rise, by whole groups, and no problem outside the bounds is sampled again."""
    before = {}
    for row in lines(folder / "prompts.jsonl"):
        attempts, passes = before.get(row["problem"], (0, 0))
        assert row["attempts"] == attempts + 4
        assert passes <= row["passes"] <= passes + 4
        assert not attempts or 0.1 <= passes / attempts <= 0.9
        before[row["problem"]] = row["attempts"], row["passes"]
    return before


def test_steps_are_filled_with_groups_that_have_spread(unbroken):
    metrics = list(read_metrics(unbroken))
    assert sum(row["groups/given_up"] for row in metrics) > 0
    assert sum(row["groups/skipped"] for row in metrics) > 0
    for row, (step, drawn) in zip(metrics, groups(unbroken).items(), strict=True):
        assert row["step"] == step + 1
        assert len(drawn) == 4
        assert len({problem for problem, _ in drawn}) == 4
        flat = sum(len(set(rewards)) == 1 for _, rewards in drawn)
        assert row["frac_reward_zero_std"] == flat / 4
        assert row["groups/drawn"] == 4 + row["groups/given_up"] <= 12
    assert metrics[0]["frac_reward_zero_std"] <= 0.25


def test_every_draw_is_counted(unbroken):
    counts = check_ledger(unbroken)
    drawn = sum(row["groups/drawn"] for row in read_metrics(unbroken))
    assert sum(attempts for attempts, _ in counts.values()) == 4 * drawn


def test_a_killed_run_draws_and_counts_as_an_unbroken_one(grpo, args, unbroken, tmp_path):
    folder = tmp_path / "killed"
    grpo.stopped_at(5, folder, *args, *CHOOSING).wait()
    done = grpo.run(*args, *CHOOSING, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    assert read_manifest(folder).data["sessions"][1]["from_step"] > 0
    for name in ("prompts.jsonl", "model/adapter_model.safetensors"):
        assert sha256_file(folder / name) == sha256_file(unbroken / name)
    assert groups(folder) == groups(unbroken)


def test_without_the_options_groups_are_counted_and_none_is_replaced(grpo, args, tmp_path):
    done = grpo.run(*args, "--max-steps", 3, "--output-dir", tmp_path / "plain")
    assert done.returncode == 0, done.stderr
    assert not [key for row in read_metrics(tmp_path / "plain") for key in row if key.startswith("groups/")]
    attempts, passes = Counter(), Counter()
    for drawn in groups(tmp_path / "plain").values():
        for problem, rewards in drawn:
            attempts[problem] += len(rewards)
            passes[problem] += sum(reward > 0 for reward in rewards)
    last = {row["problem"]: row for row in lines(tmp_path / "plain" / "prompts.jsonl")}
    assert {problem: row["attempts"] for problem, row in last.items()} == attempts
    assert {problem: row["passes"] for problem, row in last.items() if row["passes"]} == +passes


@pytest.mark.slow
def test_two_processes_draw_no_problem_twice_in_a_step(grpo, args, tmp_path):
    done = grpo.run(*args, *CHOOSING, "--processes", 2, "--output-dir", tmp_path / "two", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    counts = check_ledger(tmp_path / "two")
    metrics = list(read_metrics(tmp_path / "two"))
    assert sum(row["groups/given_up"] for row in metrics) > 0
    assert sum(attempts for attempts, _ in counts.values()) == 4 * sum(row["groups/drawn"] for row in metrics)
    of_a_step = defaultdict(list)
    for row in lines(tmp_path / "two" / "prompts.jsonl"):
        of_a_step[row["step"]].append(row["problem"])
    assert all(len(problems) == len(set(problems)) for problems in of_a_step.values())


def test_a_ledger_is_taken_up_before_a_step(tmp_path):
    path = tmp_path / "prompts.jsonl"
    config = GrpoConfig(min_pass_rate=0.2, max_pass_rate=0.8)
    ledger = PromptLedger(path, config, 0)
    ledger.add(0, [("a", True), ("a", True), ("b", False), ("b", True)])
    ledger.add(1, [("c", False), ("c", False), ("b", True), ("b", True)])
    with path.open("a") as file:
        file.write('{"step": 2, "prob')  # what a kill leaves
    assert [PromptLedger(path, config, 2).skips(problem) for problem in "abcd"] == [True, False, True, False]
    assert PromptLedger(path, config, 1).counts == {"a": [2, 2], "b": [2, 1]}
    assert [row["step"] for row in lines(path)] == [0, 0]
    assert PromptLedger(path, config, 0).counts == {}


def test_no_bounds_skip_nothing(tmp_path):
    ledger = PromptLedger(tmp_path / "prompts.jsonl", GrpoConfig(), 0)
    ledger.add(0, [("a", True), ("b", False)])
    assert not ledger.skips("a")
    assert not ledger.skips("b")


def test_a_pass_is_a_right_answer_whatever_else_is_rewarded():
    profile = PROFILES[DEFAULT_PROFILE]
    problem = {"prompt": "", "answer": "7", "opens_thinking": False}
    judge = Judge(load_rewards(["length:0.1", "verified"], profile, length_limit=10), [problem])
    rows = [{"prompt": "", "row": 0}] * 2
    texts = [profile.completion("3 + 4", "7", False), profile.completion("3 + 4", "8", False)]
    completions = [Completion(text, (1,) * 5, "stop") for text in texts]
    scores = judge.scores(rows, completions)
    assert scores == [(-0.5, 1.0), (-0.5, 0.0)]
    assert [judge.total(values) for values in scores] == pytest.approx([0.95, -0.05])
    assert judge.solved(rows, completions, scores) == [True, False]


def test_a_pass_is_a_reward_above_0_where_there_is_no_answer():
    profile = PROFILES[DEFAULT_PROFILE]
    problem = {"prompt": "", "answer": None, "opens_thinking": False}
    judge = Judge(load_rewards(["format", "length:0.1"], profile, length_limit=10), [problem])
    rows = [{"prompt": "", "row": 0}] * 2
    completions = [Completion(text, (1,) * 5, "stop") for text in (profile.completion("so", "7", False), "no tags")]
    scores = judge.scores(rows, completions)
    assert judge.solved(rows, completions, scores) == [True, False]


def test_rewards_that_cannot_be_judged_are_no_spread():
    assert not has_spread([1.0, float("nan"), 1.0])
    assert has_spread([1.0, float("nan"), 0.5])


def test_shuffled_gives_each_once_and_every_order():
    orders = {tuple(shuffled(4, Random(seed))) for seed in range(400)}
    assert len(orders) == 24
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)


def test_bounds_that_leave_nothing_are_refused():
    with pytest.raises(ToolError, match=r"--min-pass-rate 0\.9 is above --max-pass-rate 0\.1"):
        GrpoConfig(min_pass_rate=0.9, max_pass_rate=0.1)


@pytest.mark.parametrize("scale", ["batch", "group"])
def test_zero_variance_groups_are_counted_with_any_scale_and_weights(grpo, args, scale, tmp_path):
    # In float32 the standard deviation of eight equal rewards of 0.7 is above 0.
    words = [*args[:-1], f"{args[-1]}:0.7", "--num-generations", 8, "--max-steps", 2, "--scale-rewards", scale]
    done = grpo.run(*words, "--output-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    flat = []
    for path in sorted((tmp_path / "run" / "rollouts").iterdir()):
        groups = defaultdict(set)
        for row in lines(path):
            groups[row["problem"]].add(row["reward"])
        flat.append(sum(len(values) == 1 for values in groups.values()) / len(groups))
    assert [row["frac_reward_zero_std"] for row in read_metrics(tmp_path / "run")] == flat
    assert any(0 < share < 1 for share in flat)
