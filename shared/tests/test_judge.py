"""A judge over HTTP: every kind of rubric, and every way in which a server can be unwell."""

import json
import re
import threading
import time

import pytest
import yaml

from tools_shared.errors import Incomplete, ToolError, UnusableError
from tools_shared.judging.bias import copied, rank_correlation, repetition
from tools_shared.prompts import PROFILES
from tools_shared.rewards import load_rewards

TAGS = PROFILES["gsm8k-tags"]
STEPS = ["Fill the kettle.", "Fill the kettle. Boil it.", "Fill the kettle. Boil it. Pour over the leaves."]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def judge(tmp_path):
    def make(server=None, *, name="tea", judge=None, **rubric):
        path = tmp_path / f"{name}.yaml"
        options = {"endpoint": server.url, "model": "j", "retries": 0, "timeout": 5} if server is not None else {}
        path.write_text(yaml.safe_dump({"name": name, **rubric, "judge": {**options, **(judge or {})}}))
        (reward,) = load_rewards([f"judge:{path}"], TAGS)
        return reward

    return make


def said(text, tokens=(100, 7)):
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}, {}


def shown_to(body):
    return json.loads(body["messages"][-1]["content"])


def by_length(path, body, number):
    """A judge that likes length: 1 for nothing, a point more for each sentence."""
    return said(json.dumps({"score": min(10, 1 + shown_to(body)["reply"].count("."))}))


def test_absolute_scores_between_0_and_1(serve, judge):
    server = serve(by_length)
    reward = judge(server, score=[1, 10], show=["goal"], instructions="You judge how to brew tea.")

    scores = reward(["p"] * 3, STEPS, question=["How?"] * 3, goal=["tea"] * 3)

    assert scores == pytest.approx([1 / 9, 2 / 9, 3 / 9])
    _, _, body = server[0]
    assert body["messages"][0]["content"].startswith("You judge how to brew tea.")
    assert shown_to(body)["prompt"] == "How?"
    assert {shown_to(b)["goal"] for _, _, b in server} == {"tea"}
    assert reward.spent() == {
        "n_asked": 3,
        "n_cached": 0,
        "n_failed": 0,
        "tokens_in": 300,
        "tokens_out": 21,
    }


def test_criteria_with_weights_and_a_form_that_the_server_forces(serve, judge):
    def answer(path, body, number):
        reply = shown_to(body)["reply"]
        return said(json.dumps({"boils": "Boil" in reply, "leaves": "leaves" in reply, "brief": len(reply) < 20}))

    criteria = [
        {"name": "boils", "ask": "The water boils.", "weight": 3},
        {"name": "leaves", "ask": "There are leaves."},
        {"name": "brief", "ask": "It is too brief.", "weight": -2},
    ]
    server = serve(answer)
    reward = judge(server, criteria=criteria, judge={"schema": True})

    assert reward(["p"] * 3, STEPS) == [0.0, 0.75, 1.0]
    schema = server[0][2]["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["boils", "leaves", "brief"]


def test_a_row_has_its_own_criteria(serve, judge):
    def answer(path, body, number):
        asked = re.findall(r"^- (\S+): (.*)$", body["messages"][0]["content"], re.MULTILINE)
        return said(
            json.dumps({name: word.rstrip(".").lower() in shown_to(body)["reply"].lower() for name, word in asked})
        )

    reward = judge(serve(answer), row_criteria="rubric")
    rubrics = [
        "kettle",
        [{"ask": "leaves", "weight": 2}, {"ask": "kettle", "weight": 2}],
        [{"criterion": "milk", "points": 5}],
    ]

    assert reward(["p"] * 3, STEPS, rubric=rubrics) == [1.0, 0.5, 0.0]
    as_tables_have_them = [json.dumps(rubrics[1]), [{"ask": None, "criterion": "kettle", "points": 5, "weight": None}]]
    assert reward(["p"] * 2, STEPS[:2], rubric=as_tables_have_them) == [0.5, 1.0]
    with pytest.raises(UnusableError, match="no column \"rubric\", which the reward 'judge:tea' wants"):
        reward.check_row({"question": "q"})
    with pytest.raises(UnusableError, match='"rubric": number 1 has no ask'):
        reward.check_row({"rubric": [{"weight": 1}]})


def test_pairs_of_a_group_in_both_orders(serve, judge):
    def answer(path, body, number):
        a, b = (len(shown_to(body)[name]) for name in ("reply A", "reply B"))
        return said(json.dumps({"better": "A" if a > b else "B" if b > a else "tie"}))

    server = serve(answer)
    reward = judge(server, pairwise=True)
    prompts = ["tea"] * 3 + ["coffee"] * 2

    scores = reward(prompts, [*STEPS, "x", "yy"], question=prompts)

    assert scores == [0.0, 0.5, 1.0, 0.0, 1.0]
    assert len(server) == 2 * (3 + 1)
    assert reward.first_batch({})[-1].startswith("judge:tea: the first of two replies wins 50 % [")
    assert "another verdict in the other order 0 %" in reward.first_batch({})[-1]


def test_a_judge_that_takes_the_first_is_found_out(serve, judge):
    reward = judge(serve(lambda *_: said('{"better": "A"}')), pairwise=True)

    assert reward(["tea"] * 3, STEPS) == [0.5] * 3
    line = reward.first_batch({})[-1]
    assert "the first of two replies wins 100 %" in line
    assert "another verdict in the other order 100 %" in line


def test_a_judge_that_goes_by_length_is_found_out(serve, judge, capsys):
    reward = judge(serve(by_length), score=[1, 10])
    texts = ["So. " * n for n in range(10)]

    reward(["p"] * 10, texts)

    assert reward.signs()["length"] == pytest.approx(1)
    assert "scores go with length (rank correlation +1.00 [" in capsys.readouterr().err
    assert any(
        "rank correlation of score and length +1.00" in line
        for line in reward.first_batch({"prompts": ["p"], "completions": ["a"]})
    )


def test_a_judge_that_contradicts_itself_is_measured(serve, judge):
    def answer(path, body, number):
        return said(json.dumps({"score": 3 if number % 2 else 7}))

    reward = judge(serve(answer), score=[1, 11], judge={"concurrency": 1, "cache": False})

    lines = reward.first_batch({"prompts": ["p"] * 3, "completions": list(STEPS)})

    assert lines == ["judge:tea: another score asked again 100 % [44, 100], n=3, by 0.40 on average"]


@pytest.mark.parametrize(
    "reply",
    [
        "I would rather not say.",
        '{"score": 11}',
        '{"score": "high"}',
        '{"score": true}',
        '{"score": NaN}',
        '{"points": 7}',
        '{"score": 3} or rather {"score": 9}',
        '<think>I would say {"score": 3}, but',
        '[THINK]{"score": 3}[/THINK] I cannot say.',
        '{"score": "1_0"}',
        '{"score": "7/9"}',
        '{"score": "70 %"}',
        '{"score": __import__("os").getpid()}',
        "",
        "[7]",
    ],
)
def test_a_reply_without_a_verdict_is_no_reward_and_counted(serve, judge, reply):
    def answer(path, body, number):
        return said(reply if shown_to(body)["reply"] == STEPS[0] else '{"score": 10}')

    reward = judge(serve(answer), score=[1, 10], judge={"max_failed": 0.5})

    assert reward(["p"] * 3, STEPS) == [None, 1.0, 1.0]
    assert reward.spent()["n_failed"] == 1


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('Good steps. {"score": 10}', 1.0),
        ('```json\n{"score": 1}\n```', 0.0),
        ('<think>{"score": 1}?</think>{"score": "5.5"}', 0.5),
        ('{"reason": "{\\"score\\": 1}", "score": 10}', 1.0),
        ('{"verdict": {"score": 10}}', 1.0),
        ('{"score": 10, "of": {"score": 1}}', 1.0),
        ('<thinking>{"score": 1}</thinking>\n```\n{"score": 10}\n```', 1.0),
        ('[THINK]{"score": 1}[/THINK]{"score": 10}', 1.0),
        ('<|channel|>analysis<|message|>{"score": 1}<|end|><|channel|>final<|message|>{"score": 10}', 1.0),
        ('{"score": "5.5/10"}', 0.5),
        ('{"score": "10 out of 10"}', 1.0),
        ('{"score": "5,5"}', 0.5),
        ('{"Score ": 10}', 1.0),
        ("{'score': 10,}", 1.0),
    ],
)
def test_verdicts_as_judges_write_them(serve, judge, reply, score):
    assert judge(serve(lambda *_: said(reply)), score=[1, 10])(["p"], ["r"]) == [score]


@pytest.mark.parametrize(
    ("reply", "met"),
    [
        ('{"klar": true, "Vollst\u00e4ndig": false}', 0.25),
        ('{"klar": "Ja.", "vollst\\u00e4ndig": "nein"}', 0.25),
        ('{"klar": True, "Vollst\u00e4ndig": False}', 0.25),
        ('{"klar": 0, "Vollsta\u0308ndig": 1}', 0.75),
        ('{"klar": "\u662f", "Vollst\u00e4ndig": "\u5426"}', 0.25),
        ('{"klar": 0.9, "Vollst\u00e4ndig": true}', None),
        ('{"klar": true}', None),
        ('{"klar": true, "KLAR": false, "Vollst\u00e4ndig": true}', 1.0),
        ('{"Klar": true, "KLAR": false, "Vollst\u00e4ndig": true}', None),
    ],
)
def test_a_rubric_in_another_language(serve, judge, reply, met):
    server = serve(lambda *_: said(reply))
    criteria = [{"name": "klar", "ask": "Der Text ist klar."}, {"name": "Vollst\u00e4ndig", "ask": "x", "weight": 3}]
    reward = judge(server, instructions="Beurteile die Anleitung.", criteria=criteria, judge={"max_failed": 1})

    assert reward(["p"], ["r"]) == [met]
    assert "- Vollst\u00e4ndig: x" in server[0][2]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("reply", "scores"),
    [
        ('{"better": "Reply A"}', [0.5, 0.5]),
        ('{"better": "tie"}', [0.5, 0.5]),
        ('{"Better": "Equal."}', [0.5, 0.5]),
        ('{"better": "A or B"}', [None, None]),
    ],
)
def test_pairs_in_groups_of_two(serve, judge, reply, scores):
    server = serve(lambda *_: said(reply))
    reward = judge(server, pairwise=True, judge={"max_failed": 1})

    assert reward(["p"] * 2, ["r", "s"], question=["q"] * 2) == scores
    assert len(server) == 2
    assert reward(["p"], ["r"], question=["q"]) == [None]


@pytest.mark.parametrize("wait", ["0", "Mon, 01 Jan 2024 00:00:00 GMT", "soon", None])
def test_a_server_that_limits_the_rate_is_asked_again(serve, judge, wait):
    def answer(path, body, number):
        headers = {} if wait is None else {"Retry-After": wait}
        return (429, {"error": {"message": "rate limit"}}, headers) if number <= 2 else by_length(path, body, number)

    reward = judge(serve(answer), score=[1, 10], judge={"retries": 3})

    assert reward(["p"] * 3, STEPS) == pytest.approx([1 / 9, 2 / 9, 3 / 9])
    assert reward.spent()["n_asked"] == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "response_format is not supported by this model"),
        (400, "This model does not support structured outputs"),
        (400, "xgrammar does not support json schema on this platform"),
        (422, "Extra inputs are not permitted: response_format"),
        (500, "failed to compile grammar"),
        (501, "Guided decoding is not implemented"),
    ],
)
def test_a_server_that_cannot_force_a_form_is_asked_in_words(serve, judge, capsys, status, error):
    def answer(path, body, number):
        forced = "response_format" in body
        return (status, {"error": {"message": error}}, {}) if forced else by_length(path, body, number)

    reward = judge(serve(answer), score=[1, 10], judge={"schema": True})

    assert reward(["p"] * 3, STEPS) == pytest.approx([1 / 9, 2 / 9, 3 / 9])
    assert "does not take response_format: the form of the reply is asked for in words" in capsys.readouterr().err
    assert reward.spent()["n_failed"] == 0


def test_a_server_that_counts_nothing_is_charged_the_most_that_it_could_cost(serve, judge):
    reply = {"choices": [{"message": {"content": '{"score": 7}'}, "finish_reason": "stop"}]}
    options = {"budget_tokens": 1000, "concurrency": 1, "max_tokens": 90}
    server = serve(lambda *_: (200, reply, {}))
    reward = judge(server, score=[1, 10], judge=options)

    with pytest.raises(Incomplete, match="budget of 1000 tokens"):
        for n in range(40):
            reward(["p"], [f"Reply {n}."])
    assert reward.judge.spent.tokens_out == 90 * len(server)


SICK = {
    "rude": lambda *_: (500, b"go away", {}),
    "forbidding": lambda *_: (403, {"error": {"message": "no"}}, {}),
    "no JSON": lambda *_: (200, b"<html>", {}),
    "an error inside": lambda *_: (200, {"error": {"message": "bad", "code": 500}}, {}),
    "without choices": lambda *_: (200, {"id": 1}, {}),
    "closing": lambda *_: lambda handler: handler.connection.close(),
    "slow": lambda *_: time.sleep(3) or said('{"score": 3}'),
}


@pytest.mark.parametrize("name", SICK)
def test_a_judge_that_is_unwell_stops_the_run_and_never_scores_0(serve, judge, name):
    timeout = 0.3 if name == "slow" else 5
    reward = judge(serve(SICK[name]), score=[1, 10], judge={"timeout": timeout})

    with pytest.raises(Incomplete, match=r"3 of 3 judgements failed, more than max_failed 0\.1; the last: .*resume"):
        reward(["p"] * 3, STEPS)


def test_a_judge_that_is_down(judge, serve):
    reward = judge(serve(by_length), score=[1, 10], judge={"endpoint": "http://127.0.0.1:9/v1"})

    with pytest.raises(Incomplete, match="connection: "):
        reward(["p"] * 3, STEPS)


def test_what_passes_is_tried_again_and_known_verdicts_are_not_paid_again(serve, judge):
    def answer(path, body, number):
        return (503, {"error": "loading"}, {"Retry-After": "0"}) if number == 1 else by_length(path, body, number)

    server = serve(answer)
    reward = judge(server, score=[1, 10], judge={"retries": 2})

    first = reward(["p"] * 3, STEPS)
    again = judge(server, score=[1, 10], judge={"retries": 2, "price_in": 5})

    assert len(server) == 4
    assert again(["p"] * 3, STEPS) == first
    assert len(server) == 4
    assert again.spent()["n_cached"] == 3
    assert again.spent()["money"] == 0


def test_the_budget_is_kept_and_a_resumed_run_goes_on_from_it(serve, judge, tmp_path):
    served = []

    def answer(path, body, number):
        served.append(number)
        return by_length(path, body, number)

    priced = {"price_in": 1000, "price_out": 10000, "concurrency": 1, "max_tokens": 20}
    server = serve(answer)
    reward = judge(server, score=[1, 10], judge={**priced, "budget": 1.2})
    reward.attach(tmp_path)

    with pytest.raises(Incomplete, match=r"the budget of 1\.2 does not cover the next judgement .*raise budget"):
        for n in range(20):
            reward(["p"], [f"Reply {n}."])
    cost = len(served) * (100 * 1000 + 7 * 10000) / 1e6
    assert 0 < cost <= 1.2
    assert reward.judge.spent.money == pytest.approx(cost)

    more = judge(server, score=[1, 10], judge={**priced, "budget": 2.0})
    more.attach(tmp_path)
    with pytest.raises(Incomplete, match=r"the budget of 2 "):
        for n in range(20):
            more(["p"], [f"Reply {n}."])
    assert cost < len(served) * 0.17 <= 2.0
    assert more.judge.spent.money == pytest.approx(len(served) * 0.17)


def test_a_run_is_resumed_when_its_judge_was_repaired_and_what_it_paid_is_known(serve, judge, tmp_path):
    def answer(path, body, number):
        return said("hm") if number <= 12 else by_length(path, body, number)

    server = serve(answer)
    options = {"score": [1, 10], "judge": {"price_in": 10, "concurrency": 1}}
    reward = judge(server, **options)
    reward.attach(tmp_path)
    with pytest.raises(Incomplete, match="12 of 12 judgements failed"):
        reward(["p"] * 12, [f"Reply {n}." for n in range(12)])

    resumed = judge(server, **options)
    resumed.attach(tmp_path)

    assert None not in resumed(["p"] * 4, [f"Reply {n}." for n in range(4)])
    assert resumed.judge.spent.n_asked == len(server) == 16
    assert resumed.judge.spent.money == pytest.approx(16 * 0.001)


def test_a_budget_of_tokens(serve, judge):
    reward = judge(serve(by_length), score=[1, 10], judge={"budget_tokens": 1500, "concurrency": 1, "max_tokens": 20})

    with pytest.raises(Incomplete, match="budget of 1500 tokens"):
        for n in range(40):
            reward(["p"], [f"Reply {n}."])
    assert reward.judge.spent.tokens_in + reward.judge.spent.tokens_out <= 1500


def test_no_more_requests_at_once_than_allowed(serve, judge):
    now, most, lock = [0], [0], threading.Lock()

    def answer(path, body, number):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return by_length(path, body, number)

    judge(serve(answer), score=[1, 10], judge={"concurrency": 3})(["p"] * 12, [f"R {n}" for n in range(12)])

    assert 1 < most[0] <= 3


def test_the_judge_sees_the_reply_without_its_thinking(serve, judge):
    server = serve(by_length)
    think = TAGS.think
    texts = [f"{think[0]}secret{think[1]} open.", "secret", f"secret{think[1]}said."]

    judge(server, score=[1, 10])(["p"] * 3, texts, opens_thinking=[False, True, True])

    assert sorted(shown_to(body)["reply"] for _, _, body in server) == ["", " open.", "said."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"criteria": []}, "criteria: is .*; give a list of criteria"),
        ({"criteria": [{"ask": "x", "wieght": 2}]}, "unknown key 'wieght'.*weight"),
        ({"criteria": [{"ask": "x", "weight": 0}]}, "the weight 0; give a number other than 0"),
        ({"criteria": [{"ask": "x", "weight": -1}]}, "no weight is above 0"),
        ({"criteria": [{"name": "a", "ask": "x"}, {"name": "a", "ask": "y"}]}, "two criteria are called 'a'"),
        ({}, "says nothing that could be judged; give one of score"),
        ({"score": [1, 10], "pairwise": True}, "has score and pairwise"),
        ({"score": [10, 1]}, "score must be the two ends of a scale"),
        ({"scroe": [1, 10]}, "unknown key 'scroe'.*score"),
        ({"score": [1, 10], "judge": {"endpont": "x"}}, "unknown key 'endpont'.*endpoint"),
        ({"score": [1, 10], "judge": {"concurrency": 0}}, "concurrency cannot be 0"),
        ({"score": [1, 10], "judge": {"budget": "much"}}, "budget cannot be 'much'"),
        ({"score": [1, 10], "show": "goal"}, "show must be a list of columns"),
        ({"score": [1, float("inf")]}, "score must be the two ends of a scale"),
        ({"criteria": [{"ask": "x", "weight": float("nan")}]}, "the weight nan; give a number other than 0"),
        ({"score": [1, 10**400]}, "score must be the two ends of a scale"),
        (
            {"criteria": [{"ask": "x", "weight": -(10**400)}]},
            "the weight a number of 1329 bits; give a number other than 0",
        ),
        ({"score": [1, 10], "judge": {"max_tokens": 10**400}}, "max_tokens cannot be a number of"),
        ({"criteria": [{"ask": "x", "name": True}]}, "the name True; give a word in quotation marks"),
        ({"criteria": [{"ask": "x", "name": 'a"b'}]}, "give a word in quotation marks"),
        ({"pairwise": "yes"}, "pairwise must be true, got 'yes'"),
        ({"score": [1, 10], "opponents": 2}, "opponents is for pairwise: true"),
        ({"score": [1, 10], "show": ["goal", "reply"]}, "show names 'reply', which the judge is always shown"),
        ({"row_criteria": " "}, "row_criteria must be text"),
        ({"score": [1, 10], "name": ""}, "name must be text"),
        ({"score": [1, 10], None: 2}, "unknown key None"),
        ({"score": [1, 10], "judge": {"timeout": float("inf")}}, "timeout cannot be inf"),
        ({"score": [1, 10], "judge": {"endpoint": "localhost:8000", "model": "j"}}, "is no address: give http://"),
        (
            {"score": [1, 10], "judge": {"endpoint": "http://h/v1", "model": "j", "budget": 3}},
            "budget 3 cannot be kept: no price is known at .*give price_in and price_out under judge:",
        ),
        (
            {"score": [1, 10], "judge": {"endpoint": "http://h/v1", "model": "j", "api_key_env": "NO_SUCH_KEY_HERE"}},
            "NO_SUCH_KEY_HERE: this environment variable is not set",
        ),
        ({"score": [1, 10], "judge": {"model": "demo", "budget": 3}}, "budget is for a server.*budget_tokens"),
        ({"score": [1, 10]}, "no judge; give endpoint .*or model"),
        (["x"], "a rubric is a mapping"),
    ],
)
def test_rubrics_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(content))

    with pytest.raises(ToolError, match=message) as error:
        load_rewards([f"judge:{path}"], TAGS)
    assert "\n" not in str(error.value)


def test_a_rubric_that_is_not_there_names_its_neighbours(tmp_path, judge, serve):
    judge(serve(by_length), score=[1, 10])

    with pytest.raises(ToolError, match=r"no such rubric; .* holds tea\.yaml"):
        load_rewards([f"judge:{tmp_path}/coffee.yaml:0.5"], TAGS)


def test_weights_and_paths_with_colons(tmp_path, judge, serve):
    reward = judge(serve(by_length), score=[1, 10], name="odd")
    odd = tmp_path / "a:b.yaml"
    odd.write_text(reward.path.read_text())

    rewards = load_rewards([f"judge:{odd}:-0.5", "verified:2"], TAGS)

    assert [(r.name, r.weight) for r in rewards] == [("judge:odd", -0.5), ("verified", 2.0)]


def test_signs():
    assert repetition("a b c a b c a b c") == pytest.approx(4 / 7)
    assert repetition("a b") == 0
    assert copied("Safe and clear steps.", {"safe", "clear", "steps"}, "Which steps?") == 0.5
    found = rank_correlation([1, 2, 2, 4, 5, 6, 7, 8], [8, 7, 7, 5, 4, 3, 2, 1])
    assert found.rho == pytest.approx(-1)
    assert rank_correlation([1.0] * 20, list(range(20))) is None
    assert rank_correlation([1, 2], [1, 2]) is None
