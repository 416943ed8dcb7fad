"""From replies that people have judged to the rows that a judge is trained on."""

import json

import pytest
import yaml
from click.testing import CliRunner

from tools_shared.judging import Question, load_rubric
from tools_shared.judging.questions import messages_of
from tools_shared.prompts import PROFILES, load_profile, question_messages
from tools_shared.rewards import check_rewards, check_row, load_rewards
from tools_shared.sources import read_examples, read_problems
from tools_traces.cli import main

GOALS = ["Brew tea", "Sew on a button", "Plant a bean", "Fold a shirt", "Tune a guitar", "Wax a ski", "Bind a book"]
LABELLED = [
    {"goal": goal, "steps": ["Begin", f"Go on {n}"], "reference": [goal, "Done"], "verdict": "yes" if n % 3 else "no"}
    for goal in GOALS
    for n in range(3)
]
CRITERIA = [{"name": "works", "ask": "The steps reach the goal."}]


def make(tmp_path, rows, *more, **rubric):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"name": "how-to", **({"criteria": CRITERIA} | rubric)}))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [
        "verdicts",
        tmp_path / "r.yaml",
        "--data",
        tmp_path / "rows.jsonl",
        "--output-dir",
        tmp_path / "out",
        *more,
    ]
    return CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)


def read(tmp_path, name):
    return [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]


def test_no_question_is_on_both_sides_and_no_row_is_lost(tmp_path):
    done = make(tmp_path, [*LABELLED, {"goal": "Cut hair"}], "--held-out", "0.5", "--max-rejected", "50%")

    assert done.exit_code == 0, done.output
    train, held_out = read(tmp_path, "train.jsonl"), read(tmp_path, "held_out.jsonl")
    assert {row["goal"] for row in train} & {row["goal"] for row in held_out} == set()
    assert train
    assert held_out
    assert sorted(map(str, train + held_out)) == sorted(map(str, LABELLED))
    assert "22 rows read, 1 rejected" in done.output
    assert "no reply: no column response" in json.dumps(read(tmp_path, "rejected.jsonl"))


def test_the_prompts_are_those_that_the_judge_is_asked_with(tmp_path):
    """In SFT as messages, in GRPO through the profile, and when the rubric's judge asks: one text."""
    make(tmp_path, LABELLED, show=["reference"], instructions="You judge procedures.")
    rubric = load_rubric(tmp_path / "r.yaml")
    row = read(tmp_path, "train.jsonl")[0]
    steps = "\n".join(f"{n}. {step}" for n, step in enumerate(row["steps"], start=1))
    shown = {"prompt": row["goal"], "reference": row["reference"], "reply": steps}
    asked = messages_of(rubric, Question(shown, rubric.criteria))

    trained = {e.messages[-2].content: e.messages for e in read_examples(str(tmp_path / "out" / "sft.jsonl")).items}
    problems = read_problems(str(tmp_path / "out" / "rlvr.jsonl"))
    profile = load_profile(str(tmp_path / "out" / "profile.yaml"))

    assert list(trained[asked[1].content][:2]) == asked
    assert (
        question_messages(profile, next(p.question for p in problems.items if p.question == asked[1].content)) == asked
    )
    assert not problems.rejected
    assert {p.answer for p in problems.items} == {'{"works": true}', '{"works": false}'}


def test_rows_for_grpo_pass_its_check_with_the_reward_for_judges(tmp_path):
    make(tmp_path, LABELLED, "--balance", "--held-out", "0")
    profile = load_profile(str(tmp_path / "out" / "profile.yaml"))
    rewards = load_rewards(["agrees"], profile)
    problems = read_problems(str(tmp_path / "out" / "rlvr.jsonl"))
    for problem in problems.items:
        check_row(rewards, problem)

    check = check_rewards(rewards, problems.items, profile)

    assert check.means["gold"] == 1
    assert check.means["wrong number"] == check.means["empty answer"] == 0
    answers = [p.answer for p in problems.items]
    assert answers.count('{"works": true}') == answers.count('{"works": false}') == 14
    assert len({p.id for p in problems.items}) == 28
    assert {row["dataset"] for row in read(tmp_path, "rlvr.jsonl")} == {"how-to"}


def test_scores_pairs_and_several_criteria(tmp_path):
    rows = [{"prompt": f"q{n}", "response": "r", "score": 1 + n % 4} for n in range(12)]
    assert make(tmp_path, rows, criteria=None, score=[1, 4]).exit_code == 0
    first = read(tmp_path, "rlvr.jsonl")[0]
    assert json.loads(first["ground_truth"])["score"] in (1, 2, 3, 4)
    assert first["scale"] == [1, 4]

    pairs = [{"prompt": f"q{n}", "chosen": "good", "rejected": "bad"} for n in range(9)]
    assert make(tmp_path, pairs, "--overwrite", criteria=None, pairwise=True).exit_code == 0
    golds = [row["ground_truth"] for row in read(tmp_path, "rlvr.jsonl")]
    assert golds.count('{"better": "A"}') == golds.count('{"better": "B"}')

    two = [*CRITERIA, {"name": "safe", "ask": "Nobody is hurt."}]
    rows = [{"prompt": f"q{n}", "reply": "r", "labels": {"works": True, "safe": bool(n % 2)}} for n in range(9)]
    rows.append({"prompt": "q", "reply": "r", "labels": {"works": False}})
    done = make(tmp_path, rows, "--overwrite", "--held-out", "0", criteria=two)
    assert done.exit_code == 0, done.output
    assert "10 to train on (1 of them without a verdict on every criterion" in done.output
    assert {row["ground_truth"] for row in read(tmp_path, "rlvr.jsonl")} == {
        '{"works": true, "safe": true}',
        '{"works": true, "safe": false}',
    }


@pytest.mark.parametrize(
    ("rows", "rubric", "said"),
    [
        (LABELLED, {"criteria": None, "row_criteria": "rubric"}, "row_criteria asks each row something else"),
        (LABELLED, {"show": ["steps"]}, 'show names "steps", the column with the judged reply'),
        (LABELLED, {"show": ["hints"]}, "no column \"hints\", which the rubric 'how-to' wants"),
        ([{"prompt": "q", "response": "r", "score": 9}], {"criteria": None, "score": [1, 4]}, "no number from 1 to 4"),
        ([{"prompt": "q", "chosen": "r"}], {"criteria": None, "pairwise": True}, "no rejected: no column rejected"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, rows, rubric, said):
    done = make(tmp_path, rows, **rubric)
    assert done.exit_code == 1
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("gold", "said", "score"),
    [
        ('{"safe": true}', '{"safe": true}', 1),
        ('{"safe": true}', 'It burns. {"safe": "yes"}', 1),
        ('{"safe": true}', '{"safe": false}', 0),
        ('{"safe": true}', '{"safe": true} {"safe": false}', 0),
        ('{"safe": true}', '{"sound": true}', 0),
        ('{"safe": true}', "safe", 0),
        ('{"safe": true, "whole": false}', '{"safe": true, "whole": true}', 0.5),
        ('{"score": 4}', '{"score": 2}', 0.5),
        ('{"score": 4}', '{"score": "4"}', 1),
        ('{"score": 4}', '{"score": 7}', 0),
        ('{"better": "B"}', '<think>{"better": "A"}</think>{"better": "b"}', 1),
    ],
)
def test_the_reward_for_judges(gold, said, score):
    (reward,) = load_rewards(["agrees:2"], PROFILES["boxed"])
    assert reward.weight == 2
    scale = [[1, 5]] if "score" in gold else [None]
    assert reward(["p"], [said], answer=[gold], scale=scale) == [score]


def test_a_row_whose_answer_is_no_verdict_is_rejected(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "7"}\n')
    rewards = load_rewards(["agrees"], PROFILES["boxed"])
    (problem,) = read_problems(str(tmp_path / "rows.jsonl")).items
    with pytest.raises(Exception, match='"answer" is no verdict such as {"safe": true}'):
        check_row(rewards, problem)
