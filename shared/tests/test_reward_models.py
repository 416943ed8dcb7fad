"""Rewards that ask another program here: a sequence classifier, a judge in this process, the tests of a row."""

import math
import pickle

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tools_shared.demo import model_path
from tools_shared.errors import Incomplete, ToolError, UnusableError
from tools_shared.prompts import PROFILES
from tools_shared.records import Problem
from tools_shared.rewards import check_rewards, load_rewards, reward_rows

TAGS = PROFILES["gsm8k-tags"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("scored") / "model"
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(model_path(), num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_a_reward_model_scores_as_the_model_itself_does(classifier):
    (reward,) = load_rewards([f"model:{classifier}:0.5"], TAGS)
    questions, replies = ["What is 3 + 4?", "Add 1 and 2."] * 6, ["7", "The sum is 3, as one and two are three."] * 6

    found = reward(questions, replies, question=questions)

    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    for question, reply, score in zip(questions, replies, found, strict=True):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        ids = tokenizer(
            tokenizer.apply_chat_template(turns, tokenize=False), return_tensors="pt", add_special_tokens=False
        )
        with torch.inference_mode():
            alone = model(input_ids=ids["input_ids"]).logits[0, 0].item()
        assert math.isclose(score, alone, abs_tol=1e-4)
    assert reward.weight == 0.5
    assert len(set(found)) == 2
    assert pickle.loads(pickle.dumps(reward)).name == reward.name


def test_a_model_that_scores_nothing_is_refused():
    with pytest.raises(ToolError, match="is no reward model; give a sequence classifier with one output"):
        load_rewards(["model:demo"], TAGS)[0](["q"], ["a"])


def test_a_judge_in_this_process_that_gives_no_verdicts_stops_the_run(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"score": [1, 5], "judge": {"model": "demo", "max_tokens": 8}}))
    (reward,) = load_rewards([f"judge:{path}"], TAGS)

    with pytest.raises(Incomplete, match="2 of 2 judgements failed"):
        reward(["p"] * 2, ["a", "b"])
    spent = reward.spent()
    assert spent["n_asked"] == spent["n_failed"] == 2
    assert spent["tokens_in"] > spent["tokens_out"] > 0


def test_programs_are_rewarded_for_passing_the_tests_of_their_rows(sandbox):
    (reward,) = load_rewards(["code:python:2"], TAGS)
    mbpp = {
        "text": "Write a function that squares.",
        "code": "def sq(x): return x * x",
        "test_list": ["assert sq(3) == 9"],
    }
    apps = {"input_output": '{"inputs": ["4\\n"], "outputs": ["8\\n"]}'}
    problems = [Problem("a", "Square", "", row=mbpp), Problem("b", "Double", "", row=apps)]
    rows = reward_rows(problems, ["p", "p"], [False, False])
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
    right = ["```python\ndef sq(x):\n    return x ** 2\n```", "So:\n```python\nprint(2 * int(input()))\n```"]

    assert reward(["p", "p"], right, **columns) == [1.0, 1.0]
    assert reward(["p", "p"], [right[1], right[0]], **columns) == [0.0, 0.0]
    assert reward(["p", "p"], ["I do not know.", ""], **columns) == [0.0, 0.0]
    with pytest.raises(UnusableError, match='no tests: no column "tests'):
        reward.check_row({"question": "q"})
    check = check_rewards([reward], problems[:1], TAGS, mode="warn")
    assert (check.means["reference"], check.means["empty"]) == (2.0, 0.0)
    assert check.warnings == ()
    with pytest.raises(ToolError, match="use code:python"):
        load_rewards(["code:rust"], TAGS)


def test_a_scorer_is_a_reward_under_its_name(tmp_path):
    """The mean of its steps, as the scorer itself gives them; a run in which there is none is refused at once."""
    from watched import make_scorer

    from tools_shared.scorers.text import TextResponse, open_text_scorer

    folder = make_scorer(tmp_path / "scorer", "demo")
    (reward,) = load_rewards([f"scorer:{folder}:0.25"], TAGS)
    questions = ["What is 3 + 4?", "A train has 5 cars with 12 seats. How many seats?"] * 2
    replies = ["3+4=7. So it is 7.", "5*12=60 seats. The answer is 60.", "Seven.", "There are 50. No, 60 seats."]
    alone = open_text_scorer(f"scorer:{folder}").score(
        [TextResponse(q, r) for q, r in zip(questions, replies, strict=True)]
    )
    found = reward(questions, replies, question=questions)
    assert found == pytest.approx([scored.score.mean for scored in alone], abs=1e-6)
    assert len(set(found)) == 4
    assert reward.weight == 0.25
    assert pickle.loads(pickle.dumps(reward)).name == reward.name
    assert reward([""], [""], question=[""]) == [None]
    with pytest.raises(ToolError, match="no scorer here"):
        load_rewards([f"scorer:{tmp_path}"], TAGS)


@pytest.mark.parametrize("at", ["mean", "last", "min", "ema"])
def test_where_a_scorer_is_asked(tmp_path, at):
    from watched import make_scorer

    from tools_shared.scorers.text import TextResponse, open_text_scorer

    folder = make_scorer(tmp_path / "scorer", "demo")
    question, reply = "A pool fills at 9 litres a minute.", "In 4 minutes 4*9=36. Half leaks out. That leaves 18."
    (alone,) = open_text_scorer(folder).score([TextResponse(question, reply)])
    (reward,) = load_rewards([f"scorer:{folder}?at={at}:2"], TAGS)
    again = pickle.loads(pickle.dumps(reward))
    assert (again.weight, again.at, again.profile) == (2.0, at, TAGS)
    assert again([question], [reply], question=[question]) == [pytest.approx(getattr(alone.score, at), abs=1e-6)]


@pytest.mark.parametrize("option", ["at=", "at=middle", "by=last", ""])
def test_a_place_that_a_scorer_does_not_have_is_refused(tmp_path, option):
    with pytest.raises(ToolError, match=r"write \?at=WHERE with mean, last, min, ema"):
        load_rewards([f"scorer:{tmp_path}?{option}"], TAGS)


def hacked(seed, n_questions, n, link):
    """Groups whose scores go with right answers by `link`, and otherwise with length; how hard a question is decides
    most of both."""
    import random

    rng = random.Random(seed)
    scores, completions, golds, questions, ids = [], [], [], [], []
    for number in range(n_questions):
        easy = rng.random()
        for _ in range(n):
            right, length = rng.random() < easy, rng.randint(5, 40)
            scores.append(easy + link * right + (1 - link) * length / 400 + 0.01 * rng.random())
            completions.append(f"{'Because.'.join(TAGS.think)}{('17' if right else '4').join(TAGS.answer)}")
            golds.append("17")
            questions.append(f"Question {number}")
            ids.append([0] * length)
    return scores, completions, {"answer": golds, "question": questions, "completion_ids": ids}


def test_a_reward_that_no_longer_goes_with_right_answers_is_told(capsys):
    """Within a question: over all questions even a reward of the question alone goes with right answers."""
    from tools_shared.rewards.hacking import HackingWatch

    good, bad = HackingWatch("scorer:good", TAGS), HackingWatch("scorer:bad", TAGS)
    good.note(*hacked(1, 40, 6, 0.5))
    bad.note(*hacked(2, 40, 6, 0.0))
    assert good.signs()["correct"] > 0.6
    assert abs(bad.signs()["correct"]) < 0.3 < 0.6 < bad.signs()["length"]
    told = capsys.readouterr().err
    assert told.count("scorer:bad") == 1
    assert "scorer:good" not in told
    scores, completions, columns = hacked(3, 8, 6, 0.5)
    unknown = HackingWatch("model:m", TAGS)
    unknown.note(scores, completions, columns | {"answer": [None] * len(scores)})
    assert "correct" not in unknown.signs()
    plain = HackingWatch("model:m", TAGS)
    plain.note([None] * len(scores), completions, columns)
    assert plain.signs() == {}
