"""The rules of --prune in the real vLLM, on its CPU build: the decisions of the transformers engine, trace by trace."""

import math

import pytest

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not in this environment; make vllm-env makes one with it")

from watched import NEVER, PLAIN, make_scorer, watcher  # noqa: E402

from tools_shared.engines import Draw, EngineConfig, SamplingParams, open_watched  # noqa: E402
from tools_shared.engines.local.engine import TransformersEngine  # noqa: E402
from tools_shared.models import load, resolve  # noqa: E402
from tools_shared.prompts import render_question  # noqa: E402
from tools_shared.pruning.rules import parse_rules  # noqa: E402
from tools_shared.sources import read_problems  # noqa: E402

K, N = 4, 8
GREEDY = SamplingParams(max_new_tokens=60, prune=True)
WARM = SamplingParams(temperature=1.0, max_new_tokens=60, seed=3, prune=True)
CONFIG = EngineConfig(engine="vllm", device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return make_scorer(tmp_path_factory.mktemp("scorer"), "demo")


@pytest.fixture(scope="module")
def engine(scorer):
    """Started once, with everything that the rules may ask for."""
    engine = open_watched(resolve("demo"), CONFIG, watcher("demo", (f"step:{scorer}<0", *NEVER), K, PLAIN))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def draws(engine):
    problems = read_problems(f"demo://problems?split=test&size={N}").items
    prompts = [(p.id, render_question(engine.tokenizer, PLAIN, p.question)) for p in problems]
    return [Draw(prompt, key, k) for key, prompt in prompts for k in range(K)]


def run(engine, draws, rules, params):
    """Completions by (key, sample) under these rules; every sample comes once and no trace is left."""
    engine.watcher.__init__(
        parse_rules(rules), engine.tokenizer, PLAIN, K, engine.watcher.token_bytes, engine.watcher.scorer
    )
    found, rest = {}, iter(draws)

    def note(draw, completion):
        assert (draw.key, draw.sample) not in found
        found[draw.key, draw.sample] = completion

    engine.stream(lambda: next(rest, None), params, note)
    assert found.keys() == {(d.key, d.sample) for d in draws}
    assert not engine.watcher.running
    return found


def in_transformers(draws, rules, params):
    loaded = load(resolve("demo"), "fp32", "cpu")
    engine = TransformersEngine(loaded.model, loaded.tokenizer)
    engine.watcher = watcher("demo", rules, K, PLAIN)
    found, rest = {}, iter(draws)
    note = lambda draw, completion: found.update({(draw.key, draw.sample): completion})  # noqa: E731
    engine.stream(lambda: next(rest, None), params, note)
    return found


def close(mine, theirs):
    """The same tokens, stops, steps and confidences, to 1e-3."""
    assert mine.keys() == theirs.keys()
    for key, completion in mine.items():
        other = theirs[key]
        assert (completion.token_ids, completion.text) == (other.token_ids, other.text)
        assert (completion.pruned is None) == (other.pruned is None)
        if completion.pruned:
            assert completion.pruned.step == other.pruned.step
            assert completion.pruned.score == pytest.approx(other.pruned.score, abs=1e-3)
        assert [end for end, _ in completion.steps] == [end for end, _ in other.steps]
        assert [p for _, p in completion.steps] == pytest.approx([p for _, p in other.steps], abs=1e-3)


def test_the_same_traces_have_the_same_scores_and_stops(engine, scorer, draws):
    firsts = draws[::K]
    everything = (f"step:{scorer}<0", *NEVER)
    mine, theirs = run(engine, firsts, everything, GREEDY), in_transformers(firsts, everything, GREEDY)
    close(mine, theirs)
    for key, completion in mine.items():
        lows, others = dict(completion.confidence), dict(theirs[key].confidence)
        assert completion.confidence[-1][1] == pytest.approx(theirs[key].confidence[-1][1], abs=1e-3)
        assert [lows[n] for n in lows.keys() & others] == pytest.approx(
            [others[n] for n in lows.keys() & others], abs=1e-3
        )
    means = sorted(math.fsum(p for _, p in c.steps) / len(c.steps) for c in mine.values() if c.steps)
    middle = (means[len(means) // 2 - 1] + means[len(means) // 2]) / 2
    rules = (f"step:{scorer}<{middle}", "confidence:4<0")
    stopped = run(engine, firsts, rules, GREEDY)
    close(stopped, in_transformers(firsts, rules, GREEDY))
    assert 0 < sum(c.pruned is not None for c in stopped.values()) < len(stopped)


def test_rules_that_never_fire_change_no_token(engine, scorer, draws):
    plain = SamplingParams(temperature=1.0, max_new_tokens=60, seed=3)
    watched = run(engine, draws, (f"step:{scorer}<0", *NEVER), WARM)
    alone = run(engine, draws, (f"step:{scorer}<0", *NEVER), plain)
    assert {k: c.token_ids for k, c in watched.items()} == {k: c.token_ids for k, c in alone.items()}
    assert all(c.steps is None for c in alone.values())
    assert sum(len(c.steps) for c in watched.values()) > N


def test_each_rule_stops_traces_at_a_temperature(engine, scorer, draws):
    """What is stopped is the beginning of what would have been sampled."""
    whole = run(engine, draws, (f"step:{scorer}<0", *NEVER), WARM)
    lows = sorted(c.confidence[-1][1] for c in whole.values())
    longest = max(len(d.prompt.token_ids) for d in draws)
    small = (longest * N + 300) * engine.watcher.token_bytes
    for rules in (
        (f"confidence:4<{lows[len(lows) // 2]}",),
        ("confidence:4<60%",),
        (f"step:{scorer}<0", f"budget:{small}"),
        ("agree:0.6",),
    ):
        found = run(engine, draws, rules, WARM)
        stopped = {key: c for key, c in found.items() if c.pruned}
        assert stopped, rules
        for key, completion in found.items():
            n = len(completion.token_ids) if completion.pruned else None
            assert completion.token_ids == whole[key].token_ids[:n]
