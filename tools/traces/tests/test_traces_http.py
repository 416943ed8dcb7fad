"""Attempts from a server: what has come is in the journal, whatever becomes of the server."""

import json
import time

import pytest

from tools_shared.errors import Incomplete, ToolError
from tools_shared.sources import read_problems
from tools_traces.attempts.journal import FILE, read_attempts

from .conftest import run

DATA = "demo://problems?split=train&size=24"


@pytest.fixture
def say(serve):
    """`say(answer)` starts a server: `answer(number)` is the text of a reply, or None for a request that is refused;
    gives its address and the list of what it was asked."""

    def start(answer):
        def reply(path, body, number):
            text = answer(number)
            choices = [{"message": {"content": text}, "finish_reason": "stop"}]
            return 200 if text is not None else 403, {"choices": choices}, {}

        asked = serve(reply)
        return f"{asked.url}/v1", asked

    return start


def over_http(folder, plain, endpoint, **options):
    return run(
        folder, plain, data=DATA, engine="http", endpoint=endpoint, model_name="m", token_ids=False, **options
    )  # fmt: skip


def test_replies_that_came_before_a_server_failed_are_not_asked_for_again(say, tmp_path, plain):
    endpoint, asked = say(lambda number: None if number == 15 else "Some words. The answer is 5.")
    with pytest.raises(Incomplete, match="403"):
        over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert len(asked) == 15
    assert len(read_attempts(tmp_path / "run.partial" / FILE)) == 14
    over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert len(asked) == 15 + 24 - 14
    assert len(read_attempts(tmp_path / "run" / FILE)) == 24


def test_each_reply_is_in_the_journal_at_once(say, tmp_path, plain):
    """All first attempts are one list for a server: a kill in the middle must find those that have come."""
    journal, seen = tmp_path / "run.partial" / FILE, []

    def answer(number):
        deadline = time.monotonic() + 60
        while number > 10 and not seen and time.monotonic() < deadline:
            time.sleep(0.01)
            seen.extend([1] if len(journal.read_text().splitlines()) >= 8 else [])
        return "Some words. The answer is 5."

    endpoint, _ = say(answer)
    over_http(tmp_path / "run", plain, endpoint, max_attempts=1, batch_size=1)
    assert seen


def test_batch_size_is_how_many_requests_are_under_way(say, under_way, tmp_path, plain):
    requests = under_way(3)

    def answer(number):
        requests.stay()
        return "Some words. The answer is 5."

    endpoint, asked = say(answer)
    over_http(tmp_path / "run", plain, endpoint, max_attempts=2, batch_size=3)
    assert requests.most == 3
    rows = [json.loads(line) for line in (tmp_path / "run" / "traces.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [problem.id for problem in read_problems(DATA).items]
    assert sum(row["n_attempts"] for row in rows) == len(asked)


def test_what_a_user_adds_is_in_every_request_and_a_server_without_a_system_role_is_asked_as_a_local_model(
    serve, tmp_path, plain
):
    def reply(path, body, number):
        if body["messages"][0]["role"] == "system":
            return 400, {"object": "error", "message": "System role not supported", "code": 400}, {}
        text = "Some words. The answer is 5.###The answer is 6."
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}, {}

    asked = serve(reply)
    added = {"stop": ("###",), "extra_body": '{"top_k": 7}', "drop": ("seed",)}
    over_http(tmp_path / "run", plain, asked.url, max_attempts=1, **added)
    bodies = [body for _, _, body in asked]
    assert all(body["stop"] == ["###"] and body["top_k"] == 7 and "seed" not in body for body in bodies)
    assert bodies[-1]["messages"][0]["content"].startswith("Solve the problem.\n\n")
    rows = [json.loads(line) for line in (tmp_path / "run" / "traces.graded.jsonl").read_text().splitlines()]
    assert {row["response"] for row in rows} == {"Some words. The answer is 5."}


def test_attempts_from_a_server_have_the_tokens_that_it_counted(serve, tmp_path, plain):
    choices = [{"message": {"content": "Some words. The answer is 5."}, "finish_reason": "stop"}]
    asked = serve(lambda path, body, number: (200, {"choices": choices, "usage": {"completion_tokens": 9}}, {}))
    over_http(tmp_path / "run", plain, asked.url, max_attempts=1)
    assert {attempt.n_tokens for attempt in read_attempts(tmp_path / "run" / FILE).values()} == {9}


PAID = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}


@pytest.fixture
def paid(serve):
    """A server whose replies cost 50 tokens in and 20 out."""

    def reply(path, body, number):
        choices = [{"message": {"content": f"Some words {number}. The answer is 5."}, "finish_reason": "stop"}]
        return 200, {"choices": choices, "usage": PAID}, {}

    asked = serve(reply)
    return f"{asked.url}/v1", asked


def test_a_budget_stops_the_run_which_resumes_and_pays_for_nothing_twice(paid, tmp_path, plain):
    endpoint, asked = paid
    options = {"max_attempts": 1, "batch_size": 2, "price_in": 10.0, "price_out": 100.0, "max_new_tokens": 30}
    each = (50 * 10 + 20 * 100) / 1e6
    for budget in (8.5 * each, 16.2 * each):
        with pytest.raises(Incomplete, match="budget of .* does not cover the next request .*; raise --budget"):
            over_http(tmp_path / "run", plain, endpoint, **options, budget=budget)
        assert len(asked) * each <= budget
        assert len(read_attempts(tmp_path / "run.partial" / FILE)) == len(asked) > 4
    manifest = over_http(tmp_path / "run", plain, endpoint, **options, budget=1.0)
    assert len(asked) == 24
    cost = manifest.data["cost"]
    (row,) = [row for row in cost["tokens"] if row["source"] != "this machine"]
    assert (row["in"], row["out"], row["requests"]) == (24 * 50, 24 * 20, 24)
    assert row["money"] == pytest.approx(24 * each)
    assert cost["money"][""] == pytest.approx(24 * each)
    assert cost["sessions"] == 3


def test_a_run_beside_it_has_the_replies_from_the_cache(paid, tmp_path, plain):
    endpoint, asked = paid
    for name, options, n in (("a", {}, 24), ("b", {}, 24), ("c", {"cache": False}, 48), ("d", {"seed": 5}, 72)):
        manifest = over_http(tmp_path / name, plain, endpoint, max_attempts=1, **options)
        assert len(asked) == n
    cached = json.loads((tmp_path / "b" / "run.json").read_text())["cost"]["tokens"]
    assert [(row["requests"], row["cached"], row["in"]) for row in cached] == [(0, 24, 0)]
    assert (tmp_path / "a" / "traces.jsonl").read_text() == (tmp_path / "b" / "traces.jsonl").read_text()
    assert manifest.data["cost"]["money_unknown"]


def test_the_worst_case_is_told_before_anything_is_asked(paid, tmp_path, plain, capsys):
    endpoint, asked = paid
    for prices, words in (({"price_out": 1000.0}, "at most 2.88 in cost"), ({}, "at an unknown cost")):
        over_http(tmp_path / "run", plain, endpoint, dry_run=True, max_new_tokens=30, max_attempts=4, **prices)
        assert words in capsys.readouterr().err
    assert not asked
    with pytest.raises(ToolError, match="about requests to a server; add --engine http"):
        run(tmp_path / "run", plain, data=DATA, token_ids=False, price_in=1.0)
