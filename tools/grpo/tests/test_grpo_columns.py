"""Every column of a row reaches every reward, in the check and in training; rows need no gold answer."""

import json

import pytest
from click.testing import CliRunner

from tools_grpo.cli import main
from tools_grpo.config import GrpoConfig
from tools_grpo.train import prepare
from tools_shared.errors import ToolError

SMALL = [
    "--no-eval",
    "--max-steps", "1",
    "--prompts-per-step", "2",
    "--num-generations", "2",
    "--batch-size", "4",
    "--max-completion-length", "8",
]  # fmt: skip
REWARDS = """
def by_rubric(prompts, completions, question, rubric, tests, images, **columns):
    seen = list(zip(question, rubric, tests, images, columns["level"], columns["id"]))
    open({path!r}, "a").write(repr(seen) + chr(10))
    return [float(len(c) % 3) for c in completions]

def likes_length(prompts, completions, **columns):
    return [float(len(c)) for c in completions]

def wants_gold(prompts, completions, answer, **columns):
    return [1.0 for _ in completions]
"""
ROWS = [
    {"goal": "Brew tea", "steps": ["Boil water", "Steep"], "rubric": "be brief", "tests": [1, "a"]}
    | {"images": 0, "level": 2, "id": "t"},
    {"goal": "Sew a button", "steps": ["Thread", "Sew"], "rubric": {"kind": ["x"]}, "tests": {"b": None}}
    | {"images": "no", "id": 7},
]


@pytest.fixture
def rewards(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(REWARDS.format(path=str(tmp_path / "seen.txt")))
    return path


def data(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_columns_of_any_type_reach_a_reward_in_the_check_and_in_training(tmp_path, rewards):
    options = ["--train-path", data(tmp_path, ROWS), "--reward", f"{rewards}:by_rubric", *SMALL]

    done = CliRunner().invoke(main, [*options, "--output-dir", str(tmp_path / "run")], catch_exceptions=False)

    assert done.exit_code == 0, done.output
    calls = (tmp_path / "seen.txt").read_text().splitlines()
    assert len(calls) >= 3  # the check, the first batch, the step
    for call in calls:
        assert "('Brew tea', 'be brief', [1, 'a'], 0, 2, 't')" in call
        assert "('Sew a button', {'kind': ['x']}, {'b': None}, 'no', None, '7')" in call


def test_rows_need_a_prompt_alone_where_no_reward_wants_a_gold_answer(tmp_path, rewards, capsys):
    config = GrpoConfig(
        data=(data(tmp_path, ROWS),), reward=(f"{rewards}:likes_length",), eval=False, prompts_per_step=2
    )

    given = prepare(config)

    assert [problem.question for problem in given.problems.items] == ["Brew tea", "Sew a button"]
    assert [row["steps"] for row in given.rows] == [["Boil water", "Steep"], ["Thread", "Sew"]]
    said = capsys.readouterr().err
    assert "the probe 'the sentence 20 times' scores as much as the row's own text, or more, on 2 of 2 problems" in said


@pytest.mark.parametrize(
    ("reward", "missing"),
    [("verified", "answer"), ("{path}:wants_gold", "answer"), ("{path}:by_rubric", "rubric")],
)
def test_a_row_without_what_a_reward_wants_is_rejected_by_the_columns_name(tmp_path, rewards, reward, missing):
    rows = [{"question": f"{n} + 1", "level": n} for n in range(3)]
    whole = {"question": "2 + 3", "answer": "5", "rubric": "r", "tests": [], "images": 1}
    name = reward.format(path=rewards)

    with pytest.raises(ToolError, match=f'no column "{missing}"|no key "{missing}"'):
        prepare(GrpoConfig(data=(data(tmp_path, rows),), reward=(name,), eval=False))
    some = (data(tmp_path, [*rows, whole]),)
    given = prepare(
        GrpoConfig(data=some, reward=(name,), eval=False, prompts_per_step=1, batch_size=8, reward_check="off")
    )

    assert len(given.problems.items) == 1
    assert given.problems.n_read == 4
    assert all(f'"{missing}"' in rejected.reason for rejected in given.problems.rejected)


def test_what_is_odd_about_an_opinion_is_said_and_refused_where_asked(tmp_path, rewards, capsys):
    rows = data(tmp_path, [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(4)])
    given = {"data": (rows,), "eval": False, "prompts_per_step": 2, "reward": (f"{rewards}:likes_length",)}

    prepare(GrpoConfig(**given))
    assert "to the probe 'gold followed by a wrong one'" in capsys.readouterr().err
    with pytest.raises(ToolError, match="to the gold completion of problem"):
        prepare(GrpoConfig(**given, reward_check="strict"))
    prepare(GrpoConfig(**given, reward_check="off"))
    assert "rewards on" not in capsys.readouterr().err
    with pytest.raises(ToolError, match="to the gold completion of problem"):
        prepare(GrpoConfig(**given | {"reward": ("verified:-1",)}))
    prepare(GrpoConfig(**given | {"reward": ("verified:-1",)}, reward_check="warn"))
