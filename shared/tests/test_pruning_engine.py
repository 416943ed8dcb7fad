"""The rules at work in the transformers engine: what is stopped, where, and that nothing else changes by a bit."""

import math
from collections import Counter

import pytest
import torch
from watched import NEVER, PLAIN, make_scorer, watcher
from zoo import save_model

from tools_shared.answers.extract import extract
from tools_shared.answers.voting import number_answers
from tools_shared.engines import Draw, SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.engines.local.sampling import confidences
from tools_shared.models import load, resolve
from tools_shared.prompts import render_question
from tools_shared.scorers.text import TextResponse, open_text_scorer
from tools_shared.sources import read_problems

K = 6
PARAMS = SamplingParams(temperature=1.0, max_new_tokens=90, seed=5, prune=True)
MODELS = ["demo", pytest.param("llama3", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=MODELS)
def spec(request, tmp_path_factory):
    """The demo, and a random model of another family with a tokenizer of bytes."""
    if request.param == "demo":
        return "demo"
    return str(save_model(request.param, tmp_path_factory.mktemp("models") / request.param))


@pytest.fixture(scope="module")
def engine(spec):
    loaded = load(resolve(spec), "fp32", "cpu")
    return TransformersEngine(loaded.model, loaded.tokenizer)


@pytest.fixture(scope="module")
def scorer(spec, tmp_path_factory):
    """Random bytes seldom end a sentence, more often a line."""
    return make_scorer(tmp_path_factory.mktemp("scorer"), spec, "sentence" if spec == "demo" else "\n")


@pytest.fixture(scope="module")
def draws(engine):
    problems = read_problems("demo://problems?split=train&size=8").items
    prompts = [(p.id, render_question(engine.tokenizer, PLAIN, p.question)) for p in problems]
    return [Draw(prompt, key, k) for key, prompt in prompts for k in range(K)]


def run(engine, spec, draws, rules=(), params=PARAMS, n_slots=16):
    """Completions by (key, sample); every sample comes once."""
    engine.watcher = watcher(spec, rules, K, PLAIN) if rules else None
    found, rest = {}, iter(draws)

    def note(draw, completion):
        assert (draw.key, draw.sample) not in found
        found[draw.key, draw.sample] = completion

    engine.stream(lambda: next(rest, None), params, note, n_slots=n_slots)
    assert found.keys() == {(d.key, d.sample) for d in draws}
    assert engine.watcher is None or not engine.watcher.running
    return found


@pytest.fixture(scope="module")
def whole(engine, spec, draws):
    return run(engine, spec, draws)


@pytest.fixture(scope="module")
def watched(engine, spec, draws, scorer):
    """All traces, with their steps and confidences, under rules that stop none."""
    return run(engine, spec, draws, (f"step:{scorer}<0", *NEVER))


def test_rules_that_never_fire_change_nothing(engine, spec, draws, whole, watched):
    for key, completion in watched.items():
        assert (completion.text, completion.token_ids, completion.finish_reason) == (
            whole[key].text, whole[key].token_ids, whole[key].finish_reason,
        )  # fmt: skip
        assert completion.pruned is None
    greedy = SamplingParams(max_new_tokens=40, prune=True)
    calm = run(engine, spec, draws[::K], NEVER, greedy)
    assert {k: c.token_ids for k, c in calm.items()} == {
        k: c.token_ids for k, c in run(engine, spec, draws[::K], params=greedy).items()
    }


def test_samples_that_are_not_to_be_pruned_are_not_watched(engine, spec, draws, whole):
    params = SamplingParams(temperature=1.0, max_new_tokens=90, seed=5)
    assert run(engine, spec, draws, ("confidence:1<1000",), params) == whole


def test_confidences_are_those_of_a_forward_over_the_whole_text(engine, draws, watched):
    """Minus the mean log-probability of the 20 likeliest, over four tokens; the lowest so far each time."""
    for draw in draws[:: 2 * K]:
        completion = watched[draw.key, draw.sample]
        ids = torch.tensor([[*draw.prompt.token_ids, *completion.token_ids]])
        with torch.no_grad():
            logits = engine.model(ids).logits[0, len(draw.prompt.token_ids) - 1 : -1]
        each = -logits.log_softmax(-1).topk(20).values.mean(-1)
        groups = [(n, each[n - 4 : n].mean().item()) for n in range(4, len(each) + 1)]
        for n, low in completion.confidence:
            assert low == pytest.approx(dict(groups)[n], abs=1e-3)
        assert completion.confidence[-1][1] == pytest.approx(min(low for _, low in groups), abs=1e-3)


def test_steps_are_those_that_a_scorer_reads_in_the_text(draws, scorer, watched, spec):
    """But for the last of a response, which ends with it and not with a delimiter."""
    if spec != "demo":
        pytest.skip("random bytes are no text that could be read again")
    problems = {p.id: p.question for p in read_problems("demo://problems?split=train&size=8").items}
    keys = [(d.key, d.sample) for d in draws]
    scored = open_text_scorer(scorer, device="cpu").score(
        [TextResponse(problems[key[0]], watched[key].text) for key in keys]
    )
    n_steps = 0
    for key, read in zip(keys, scored, strict=True):
        mine = watched[key].steps
        theirs = dict(zip(read.ends, read.steps, strict=True))
        assert {end for end, _ in mine} <= set(theirs)
        assert len(theirs) - len(mine) <= 1
        assert [p for _, p in mine] == pytest.approx([theirs[end] for end, _ in mine], abs=1e-3)
        n_steps += len(mine)
    assert n_steps > 50


@pytest.mark.parametrize("quantile", [0.3, pytest.param(0.7, marks=pytest.mark.slow)])
def test_a_trace_stops_when_the_mean_of_its_steps_falls_below(engine, spec, draws, scorer, watched, quantile):
    means = sorted(math.fsum(p for _, p in c.steps) / len(c.steps) for c in watched.values() if c.steps)
    least = means[int(quantile * len(means))]
    found = run(engine, spec, draws, (f"step:{scorer}<{least}",))
    n_stopped = 0
    for key, completion in found.items():
        stop = stop_of(watched[key], least)
        same(completion, watched[key], stop and stop[0] + 1)
        if stop:
            assert (completion.pruned.step, completion.pruned.tokens) == (stop[1], stop[0] + 1)
            assert completion.pruned.score < least
            assert completion.pruned.rule == f"step:{scorer}<{least}"
            n_stopped += 1
    assert 0 < n_stopped < len(found)


def stop_of(completion, least):
    """Tokens up to the end of the step after which the mean is below `least`, and its number; None: never."""
    total = 0.0
    for n, (end, probability) in enumerate(completion.steps, start=1):
        total += probability
        if total / n < least and end + 1 < len(completion.token_ids):
            return end, n
    return None


def same(completion, whole, n_tokens):
    """A stopped trace is the beginning of the whole one; the others are the whole ones."""
    assert (completion.pruned is not None) == (n_tokens is not None)
    assert completion.token_ids == whole.token_ids[:n_tokens]
    assert completion.finish_reason == ("pruned" if n_tokens else whole.finish_reason)


def test_a_trace_stops_when_its_group_confidence_falls_below(engine, spec, draws, watched):
    lows = sorted(c.confidence[-1][1] for c in watched.values())
    least = lows[len(lows) // 3]
    found = run(engine, spec, draws, (f"confidence:4<{least}",))
    for key, completion in found.items():
        stop = next((n for n, low in watched[key].confidence if low < least), None)
        same(completion, watched[key], stop if stop and stop < len(watched[key].token_ids) else None)
    assert 0 < sum(c.pruned is not None for c in found.values()) < len(found)


def test_the_first_traces_of_a_question_set_its_confidence(engine, spec, draws, watched):
    found = run(engine, spec, draws, ("confidence:4<60%",))
    for key in {key for key, _ in found}:
        first = [watched[key, k].confidence[-1][1] for k in range(2)]
        least = min(first) + 0.6 * (max(first) - min(first))
        for k in range(K):
            stop = next((n for n, low in watched[key, k].confidence if low < least), None) if k >= 2 else None
            same(found[key, k], watched[key, k], stop if stop and stop < len(watched[key, k].token_ids) else None)
    assert any(c.pruned for c in found.values())


def test_a_settled_vote_stops_its_question_and_keeps_its_answer(engine, draws, spec, watched):
    if spec != "demo":
        pytest.skip("random bytes answer nothing")
    found = run(engine, spec, draws, ("agree:1",), n_slots=16)
    stopped = [c for c in found.values() if c.pruned]
    assert stopped
    assert all(c.pruned.rule == "agree:1" and c.pruned.tokens == len(c.token_ids) for c in stopped)
    for key in {key for key, _ in found}:
        before = majority([watched[key, k] for k in range(K)])
        after = majority([found[key, k] for k in range(K)])
        if any(found[key, k].pruned for k in range(K)):
            assert before == after


def majority(completions):
    answers = [None if c.pruned else extract(c.text, PLAIN).answer for c in completions]
    counts = Counter(n for n in number_answers(answers) if n is not None)
    if not counts:
        return None
    (number, most), *others = counts.most_common()
    return answers[number_answers(answers).index(number)] if not others or others[0][1] < most else None


def test_a_full_cache_is_never_fuller_than_its_budget(engine, spec, draws, scorer, watched):
    """Every prompt counts once, every trace its own tokens, at each step; the lowest means went."""
    longest = max(len(d.prompt.token_ids) for d in draws)
    n_tokens = 2 * longest + 200
    engine.watcher = None
    rules = (f"step:{scorer}<0", f"budget:{n_tokens * kv(spec)}")
    watch, due = watcher(spec, rules, K, PLAIN), []
    original = watch.due

    def looked():
        found = original()
        prompts = {trace.draw.key: len(trace.draw.prompt.token_ids) for trace in watch.running}
        due.append(sum(prompts.values()) + sum(len(trace.tokens) for trace in watch.running))
        return found

    watch.due = looked
    engine.watcher, found, rest = watch, {}, iter(draws)
    note = lambda draw, completion: found.update({(draw.key, draw.sample): completion})  # noqa: E731
    engine.stream(lambda: next(rest, None), PARAMS, note, n_slots=16)
    assert found.keys() == watched.keys()
    assert max(due) <= n_tokens
    stopped = [key for key, completion in found.items() if completion.pruned]
    assert stopped
    for key, completion in found.items():
        same(completion, watched[key], len(completion.token_ids) if completion.pruned else None)


def kv(spec):
    from tools_shared.models.load import kv_bytes, load_config

    return kv_bytes(load_config(resolve(spec)), torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("layers", "norm"), [((1, 2), "post"), ((0,), "post"), ((2,), "pre"), ((1,), "pre")])
def test_other_layers_are_read_where_the_training_read_them(engine, spec, draws, tmp_path, layers, norm, demo):
    from tools_shared.models.load import Loaded
    from tools_shared.states.reader import StateReader

    n_layers = engine.model.config.num_hidden_layers
    layers = tuple(n_layers if layer == 2 else layer for layer in layers)
    scorer = make_scorer(tmp_path, spec, layers=layers, norm=norm)
    found = run(engine, spec, draws[:K], (f"step:{scorer}<0",))
    probe = engine.watcher.scorer
    fresh = load(resolve(spec), "fp32", "cpu")
    reader = StateReader(Loaded(fresh.model, fresh.tokenizer, fresh.ref), layers, norm == "post")
    traces = [(d, found[d.key, d.sample]) for d in draws[:K] if found[d.key, d.sample].steps]
    asked = [Asked(d, completion) for d, completion in traces]
    for i, states in reader.read(asked):
        assert probe.probabilities(states) == pytest.approx([p for _, p in traces[i][1].steps], abs=1e-3)


class Asked:
    def __init__(self, draw, completion):
        n_prompt = len(draw.prompt.token_ids)
        self.token_ids = (*draw.prompt.token_ids, *completion.token_ids)
        self.positions = [n_prompt + end - 1 for end, _ in completion.steps]


@pytest.mark.parametrize("width", [24, 1000, 2561, 50257])
def test_confidence_is_that_of_the_twenty_likeliest(width):
    """Whatever the vocabulary is: many equal logits, and the largest side by side or at its ends."""
    torch.manual_seed(width)
    logits = (torch.randn(7, width) * 6).round() / 2
    logits[1] = 0
    logits[2, :9] = logits[2, -13:] = 40.0
    logits[3, 5] = -math.inf
    ordered = torch.log_softmax(logits.double(), dim=-1).sort(dim=-1, descending=True).values
    torch.testing.assert_close(confidences(logits, 20).double(), -ordered[:, :20].mean(dim=-1), rtol=1e-6, atol=1e-5)
    assert torch.equal(confidences(logits, 20)[3:5], confidences(logits[3:5], 20))
