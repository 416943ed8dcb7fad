"""A judge measured against people's labels: what the figures are, what fails, and where they are shown afterwards."""

import json
import random

import pytest
import yaml
from click.testing import CliRunner

from tools_bench.agreements.baselines import best_length, best_threshold, by_the_other_half
from tools_bench.agreements.confusion import balanced_accuracy, confusion, interval, kappa
from tools_bench.cli import main
from tools_shared.judging import load_rubric
from tools_shared.judging.agreement import agreement_line

KNOTS = ["reef", "bowline", "clove hitch", "sheet bend", "figure eight", "cat's paw", "prusik", "half hitch"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def reply(text, logprobs=None):
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": t, "logprob": p} for t, p in logprobs]}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 50, "completion_tokens": 6}}, {}


def shown_to(body):
    return json.loads(body["messages"][-1]["content"])


def rows(n=96):
    """Replies about knots; right ones say so in capitals, and every eighth label is another."""
    drawn = random.Random(5)
    found = []
    for i in range(n):
        good = drawn.random() < 0.4
        text = f"{'PASS' if good else 'pass'} the end through the loop {'twice ' * drawn.randrange(4)}({i})"
        found.append({"prompt": f"Tie a {KNOTS[i % 8]} {i // 16}", "response": text, "verdict": good != (i % 8 == 0)})
    return found


def write(tmp_path, name, data):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return str(path)


def rubric(tmp_path, server, name="knots", **more):
    path = tmp_path / f"{name}.yaml"
    options = {"endpoint": server.url, "model": "j", "retries": 0, "timeout": 5, **more.pop("judge", {})}
    given = {"name": name, "criteria": [{"name": "holds", "ask": "The knot holds."}], "judge": options, **more}
    path.write_text(yaml.safe_dump({k: v for k, v in given.items() if v}))
    return str(path)


def run(*words):
    return CliRunner().invoke(main, ["agreement", *map(str, words)], catch_exceptions=False)


def sees_capitals(path, body, number):
    return reply(json.dumps({"holds": "PASS" in shown_to(body)["reply"]}))


def test_agreement_beside_raters_that_read_nothing(serve, tmp_path):
    server = serve(sees_capitals)
    given, data, train = rubric(tmp_path, server), rows(), write(tmp_path, "train.jsonl", rows(48))
    path = write(tmp_path, "rows.jsonl", data)

    done = run(given, "--data", path, "--train-data", train, "--output-dir", tmp_path / "out")

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())["criteria"]["holds"]
    said = ["PASS" in row["response"] for row in data]
    labels = [row["verdict"] for row in data]
    shares = [
        sum(s == lab for s, lab in zip(said, labels, strict=True) if lab is one) / labels.count(one)
        for one in (True, False)
    ]
    assert found["balanced_accuracy"]["estimate"] == pytest.approx(sum(shares) / 2)
    assert found["accuracy"]["estimate"] == pytest.approx(84 / 96)
    assert (found["n"], found["n_groups"], found["n_failed"]) == (96, 48, 0)
    assert found["kappa"]["low"] < found["kappa"]["estimate"] < found["kappa"]["high"]
    assert found["baselines"]["majority"]["balanced_accuracy"]["estimate"] == 0.5
    assert found["baselines"]["length"]["judge_minus_this"]["low"] > 0
    assert "brier" not in found
    assert "warning: " in done.output
    assert (
        f"judged: {len(server)} requests (0 more from the cache), 0 without a verdict, {50 * len(server)} tokens"
        in done.output
    )


def test_the_agreement_is_printed_beside_every_score(serve, tmp_path):
    given = rubric(tmp_path, serve(sees_capitals))
    words = load_rubric(tmp_path / "knots.yaml")
    assert agreement_line(words, tmp_path / "knots.yaml").startswith("agreement with people's labels not measured")
    suite = {
        "name": "s",
        "tasks": [{"name": "knots", "kind": "judged", "source": "rows.jsonl", "rubric": "knots.yaml"}],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    path = write(tmp_path, "rows.jsonl", rows())
    asked = serve(lambda path, body, number: reply("PASS it through."))
    bench = ["run", "--suite", tmp_path / "suite.yaml", "--endpoint", asked.url, "--model-name", "m", "--limit", "3"]

    before = CliRunner().invoke(main, list(map(str, [*bench, "--output-dir", tmp_path / "a"])), catch_exceptions=False)
    run(given, "--data", path, "--output-dir", tmp_path / "out")
    after = CliRunner().invoke(main, list(map(str, [*bench, "--output-dir", tmp_path / "b"])), catch_exceptions=False)

    assert "judge: knots: agreement with people's labels not measured" in before.output
    assert "judge: knots: agreement with people's labels: holds balanced accuracy 8" in after.output
    assert "n=96" in (tmp_path / "b" / "m" / "metrics.txt").read_text()
    other = rubric(tmp_path, serve(sees_capitals), instructions="You know knots.")
    assert "not measured" in agreement_line(load_rubric(tmp_path / "knots.yaml"), tmp_path / "knots.yaml"), other


def test_failed_judgements_disagree_and_are_counted(serve, tmp_path):
    def answer(path, body, number):
        return reply("Hm.") if "twice twice" in shown_to(body)["reply"] else sees_capitals(path, body, number)

    given, data = rubric(tmp_path, serve(answer), judge={"max_failed": 0.01}), rows()
    path = write(tmp_path, "rows.jsonl", data)

    done = run(given, "--data", path, "--output-dir", tmp_path / "out")

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())["criteria"]["holds"]
    failed = sum("twice twice" in row["response"] for row in data)
    right = sum("twice twice" not in row["response"] and ("PASS" in row["response"]) is row["verdict"] for row in data)
    assert found["n_failed"] == failed > 0
    assert found["accuracy"]["estimate"] == pytest.approx(right / 96)
    assert f"{failed} of 96 judgements failed and count as disagreement" in done.output


def test_a_judge_that_is_down_is_not_measured_and_the_rest_is_asked_for_later(serve, tmp_path):
    broken = [True]

    def answer(path, body, number):
        if broken[0] and number % 3 == 0:
            return 500, {"error": "down"}, {}
        return sees_capitals(path, body, number)

    server = serve(answer)
    given, path = rubric(tmp_path, server), write(tmp_path, "rows.jsonl", rows())
    words = [given, "--data", path, "--output-dir", tmp_path / "out"]

    stopped = run(*words)
    assert not (tmp_path / "knots.agreement.json").exists()
    n_before = len(server)
    broken[0] = False
    done = run(*words)

    assert stopped.exit_code == 3, stopped.output
    assert "requests got no reply" in stopped.output
    assert done.exit_code == 0, done.output
    assert len(server) - n_before == 32


def test_the_probabilities_of_the_judges_own_tokens(serve, tmp_path):
    def answer(path, body, number):
        assert body["logprobs"] is True
        sure = "PASS" in shown_to(body)["reply"]
        word = " true" if sure else " false"
        return reply(f'{{"holds":{word}}}', [('{"', 0), ("holds", -0.1), ('":', 0), (word, -0.22314355), ("}", 0)])

    given, path = rubric(tmp_path, serve(answer)), write(tmp_path, "rows.jsonl", rows())

    done = run(given, "--data", path, "--output-dir", tmp_path / "out")

    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "agreement.json").read_text())["criteria"]["holds"]
    # 0.8 sure, right on 84 of 96: (84 * 0.2^2 + 12 * 0.8^2) / 96
    assert found["brier"]["estimate"] == pytest.approx(0.115, abs=1e-4)
    assert 0.7 < found["auroc"]["low"] < found["auroc"]["estimate"] < 1
    assert found["calibration_error"]["estimate"] == pytest.approx(0.075, abs=0.03)


def test_scores_on_a_scale_and_pairs(serve, tmp_path):
    def answer(path, body, number):
        shown = shown_to(body)
        if "reply A" in shown:
            return reply(json.dumps({"better": "A" if len(shown["reply A"]) >= len(shown["reply B"]) else "B"}))
        return reply(json.dumps({"score": min(5, 1 + shown["reply"].count("twice"))}))

    server = serve(answer)
    scored = [{**row, "score": 1 + row["response"].count("twice") * 1.25} for row in rows()]
    scored = [{k: v for k, v in row.items() if k != "verdict"} for row in scored]
    given = rubric(tmp_path, server, "scale", criteria=None, score=[1, 5])
    done = run(given, "--data", write(tmp_path, "s.jsonl", scored), "--output-dir", tmp_path / "s")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "s" / "agreement.json").read_text())["criteria"]["score"]
    assert found["rank_correlation"]["rho"] == pytest.approx(1)
    assert 0 < found["mean_distance"]["estimate"] < 0.2
    assert "brier" not in found

    pairs = [{"prompt": f"q{i}", "chosen": "long enough" if i % 4 else "s", "rejected": "short"} for i in range(40)]
    given = rubric(tmp_path, server, "pairs", criteria=None, pairwise=True)
    done = run(given, "--data", write(tmp_path, "p.jsonl", pairs), "--output-dir", tmp_path / "p")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "p" / "agreement.json").read_text())["criteria"]["first_wins"]
    assert (found["n"], found["n_yes"], found["n_groups"]) == (80, 40, 40)
    assert found["balanced_accuracy"]["estimate"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "q", "response": "a"}, "no verdict on holds"),
        ({"prompt": "q", "response": "a", "verdict": "perhaps"}, "neither yes nor no; pass --yes LABEL"),
        ({"response": "a", "verdict": True}, "no prompt: no column prompt, question, goal; pass --prompt-key"),
        ({"prompt": "q", "verdict": True}, "no reply: no column response, reply, completion; pass --reply-key"),
        ({"prompt": "q", "response": 7, "verdict": True}, '"response" is not text'),
    ],
)
def test_rows_that_say_too_little_are_rejected_with_the_reason(serve, tmp_path, row, said):
    given = rubric(tmp_path, serve(sees_capitals))
    done = run(given, "--data", write(tmp_path, "r.jsonl", [row]), "--output-dir", tmp_path / "out")
    assert done.exit_code == 1
    assert said in done.output
    assert not (tmp_path / "out").exists()


def test_perfect_agreement_still_has_an_interval():
    labels = [True, True, False, False, False, True]
    counts = confusion(labels, labels, list("aabbcd"))
    assert interval(counts, balanced_accuracy).estimate == 1
    assert interval(counts, balanced_accuracy).low < 0.8
    assert interval(counts, kappa).low < 0.8
    assert interval(confusion([True] * 3, [True] * 3, list("abc")), balanced_accuracy) is None
    assert interval(confusion([True] * 3, [True] * 3, list("abc")), kappa) is None


def test_kappa_and_its_coverage():
    """The interval holds the true value about as often as it says."""
    assert float(
        kappa(
            confusion(
                [True] * 25 + [False] * 25, [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15, range(50)
            ).sum(0)
        )
    ) == pytest.approx(0.4)
    drawn, inside = random.Random(1), 0
    for _ in range(60):
        labels = [drawn.random() < 0.3 for _ in range(120)]
        said = [label if drawn.random() < 0.8 else not label for label in labels]
        found = interval(confusion(labels, said, range(120)), balanced_accuracy)
        inside += found.low <= 0.8 <= found.high
    assert inside >= 52


def test_the_best_length_is_the_best_of_all():
    drawn = random.Random(2)
    for _ in range(30):
        lengths = [drawn.randrange(12) for _ in range(20)]
        labels = [drawn.random() < 0.5 for _ in range(20)]
        if len(set(labels)) == 1:
            continue

        def score(rule, lengths=lengths, labels=labels):
            shares = [
                sum(rule(n) == lab for n, lab in zip(lengths, labels, strict=True) if lab is one) / labels.count(one)
                for one in (True, False)
            ]
            return sum(shares) / 2

        every = [score(lambda n, k=k, up=up: (n >= k) == up) for k in range(14) for up in (True, False)]
        assert score(best_length(labels, lengths)) == pytest.approx(max(every))


def test_a_threshold_is_the_best_of_all_and_is_chosen_on_the_other_half():
    drawn = random.Random(8)
    labels = [drawn.random() < 0.3 for _ in range(60)]
    values = [round(0.8 + 0.1 * label + 0.1 * drawn.random(), 2) for label in labels]

    def share(limit):
        right = [(label, (value >= limit) == label) for label, value in zip(labels, values, strict=True)]
        return sum(sum(ok for one, ok in right if one is k) / labels.count(k) for k in (True, False)) / 2

    assert share(best_threshold(labels, values)) == max(map(share, values))
    groups = [f"knot {i // 2}" for i in range(60)]
    said, (first, second) = by_the_other_half(labels, values, groups)
    assert 0.8 < min(first, second) <= max(first, second) < 1
    assert {a >= b for a, b in zip(values, [first] * 60, strict=True)} == {True, False}
    changed = [not label if group == "knot 3" else label for label, group in zip(labels, groups, strict=True)]
    assert by_the_other_half(changed, values, groups)[0][6:8] == said[6:8]  # its own labels do not decide
    assert by_the_other_half([True] * 60, values, groups) is None
