"""Streams of samples: the same tokens whatever else runs, places refilled at once, prompts read once."""

import random

import pytest
import torch

from tools_shared.engines import Draw, SamplingParams
from tools_shared.engines.local.continuous import SlotBatch, has_slots
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.engines.local.prefill import Ahead, OneByOne
from tools_shared.prompts import PROFILES, render_question
from tools_shared.sources import read_problems

PARAMS = SamplingParams(temperature=1.0, max_new_tokens=24, seed=5)


@pytest.fixture(scope="module")
def engine(demo):
    return TransformersEngine(demo.model, demo.tokenizer)


@pytest.fixture(scope="module")
def draws(demo):
    problems = read_problems("demo://problems?split=train&size=24").items
    prompts = [render_question(demo.tokenizer, PROFILES["gsm8k-tags"], p.question) for p in problems]
    return [Draw(prompt, p.id, k) for p, prompt in zip(problems, prompts, strict=True) for k in range(2)]


def run(engine, draws, n_slots=16, params=PARAMS):
    """Completions by (key, sample) of one stream over the samples in this order."""
    found, rest = {}, iter(draws)
    note = lambda draw, completion: found.update({(draw.key, draw.sample): completion})  # noqa: E731
    engine.stream(lambda: next(rest, None), params, note, n_slots=n_slots)
    return found


def test_order_and_company_change_no_bit(engine, draws):
    """Log-probabilities are compared exactly: equal tokens alone could be luck."""
    params = SamplingParams(temperature=1.0, max_new_tokens=24, seed=5, logprobs=True)
    whole = run(engine, draws, params=params)
    shuffled = random.Random(0).sample(draws, len(draws))
    assert run(engine, shuffled, params=params) == whole
    few = shuffled[:5]
    assert run(engine, few, params=params) == {(d.key, d.sample): whole[d.key, d.sample] for d in few}


def test_streams_draw_what_generate_draws(engine, draws):
    prompts, keys = [d.prompt for d in draws[::2]], [d.key for d in draws[::2]]
    listed = engine.generate(prompts, SamplingParams(1.0, 24, n=2, seed=5), keys=keys)
    streamed = run(engine, draws)
    for key, completions in zip(keys, listed, strict=True):
        assert [c.token_ids for c in completions] == [streamed[key, k].token_ids for k in range(2)]


def test_fixed_batches_draw_the_same(engine, draws, monkeypatch):
    monkeypatch.setattr("tools_shared.engines.local.engine.has_slots", lambda config: False)
    fixed = run(engine, draws)
    monkeypatch.undo()
    assert {k: c.token_ids for k, c in fixed.items()} == {k: c.token_ids for k, c in run(engine, draws).items()}


def test_a_result_may_call_for_the_next_draw(engine, draws):
    """Nothing may be there to take now and something later: each prompt's samples come one after the other."""
    queue, told = [d for d in draws if d.sample == 0][:4], []

    def note(draw, completion):
        told.append((draw.key, draw.sample))
        if draw.sample < 2:
            queue.append(Draw(draw.prompt, draw.key, draw.sample + 1))

    engine.stream(lambda: queue.pop(0) if queue else None, PARAMS, note, n_slots=16)
    assert sorted(told) == sorted((d.key, k) for d in [d for d in draws if d.sample == 0][:4] for k in range(3))


def test_a_prompt_is_read_once_for_all_its_draws(demo, draws):
    calls = []
    hook = demo.model.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append(args[0].shape[1] if args else 1), with_kwargs=True
    )
    same = [Draw(draws[0].prompt, "a", k) for k in range(40)]
    run(TransformersEngine(demo.model, demo.tokenizer), same)
    hook.remove()
    assert calls.count(len(draws[0].prompt.token_ids)) == 1


def test_shrinking_keeps_what_runs(demo, engine, draws):
    with torch.inference_mode():
        batch = SlotBatch(demo.model, 48, PARAMS, engine.stop_ids, 0, OneByOne(demo.model))
        for draw in draws[:20]:
            batch.enter(draw)
        ended = batch.step()
        for slot in range(10):
            batch.rows[slot] = None
        batch.shrink()
        assert len(batch.rows) == 16
        while batch.n_running:
            ended += batch.step()
    whole = run(engine, draws)
    assert len(ended) == 10
    assert all(tuple(row.tokens) == whole[row.draw.key, row.draw.sample].token_ids for row in ended)


def test_sliding_windows_have_no_slots(demo):
    from transformers import Gemma3TextConfig

    assert has_slots(demo.model.config)
    assert not has_slots(Gemma3TextConfig())


def test_prompts_read_together_are_what_they_are_alone(demo, draws):
    prompts = list(dict.fromkeys(draw.prompt.token_ids for draw in draws))
    assert len(set(map(len, prompts))) > 1  # so that some are padded
    with torch.inference_mode():
        ahead, alone = Ahead(demo.model, prompts, pad_id=0), OneByOne(demo.model)
        for ids in prompts:
            mine, other = ahead(ids), alone(ids)
            torch.testing.assert_close(mine.logits, other.logits, atol=1e-4, rtol=1e-4)
            assert ahead.beginning.length >= 16  # the profile's instructions
            for (keys, values), (other_keys, other_values) in zip(mine.layers, other.layers, strict=True):
                assert keys.shape[1] == len(ids)
                torch.testing.assert_close(keys, other_keys, atol=1e-4, rtol=1e-4)
                torch.testing.assert_close(values, other_values, atol=1e-4, rtol=1e-4)
        assert not ahead.waiting


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([(1,) * 40, (1,) * 30 + (2,) * 5], 30),
        ([(1,) * 40, (1,) * 30], 29),  # each keeps a token of its own
        ([(1,) * 40, (1,) * 10 + (2,) * 30], 0),
        ([(1,) * 40], 0),
    ],
)
def test_what_prompts_begin_with_is_read_once(demo, prompts, shared):
    with torch.inference_mode():
        ahead, alone = Ahead(demo.model, prompts, pad_id=0), OneByOne(demo.model)
        for ids in prompts:
            torch.testing.assert_close(ahead(ids).logits, alone(ids).logits, atol=1e-4, rtol=1e-4)
    assert ahead.beginning.length == shared


def test_long_prompts_are_not_read_all_at_once(demo):
    reader = Ahead(demo.model, [(1,) * 1500, (2,) * 1200, (3,) * 700, (4,) * 10], pad_id=0)
    assert [len(reader._next(start)) for start in range(4)] == [1, 1, 2, 1]


def test_a_draw_that_is_wanted_no_more_is_dropped_and_the_rest_is_as_it_was(engine, draws):
    """Every second sample is unwanted as soon as any is complete; the engine is not asked again for its tokens."""
    whole = run(engine, draws[:16])
    done = []
    wanted = [
        Draw(d.prompt, d.key, d.sample, is_wanted=lambda: not done) if i % 2 else d for i, d in enumerate(draws[:16])
    ]
    found, rest = {}, iter(wanted)

    def note(draw, completion):
        done.append(draw)
        found[draw.key, draw.sample] = completion

    engine.stream(lambda: next(rest, None), PARAMS, note, n_slots=16)
    kept = {(d.key, d.sample) for d in draws[:16:2]}
    assert kept <= found.keys() < {(d.key, d.sample) for d in draws[:16]}
    assert all(found[key] == whole[key] for key in found)
