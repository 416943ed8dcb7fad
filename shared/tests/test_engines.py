import pytest
import torch

from tools_shared.engines import SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.engines.local.sampling import pick, uniforms
from tools_shared.errors import ToolError
from tools_shared.prompts import PROFILES, Prompt, render_question

QUESTIONS = [
    "Tom has 3 apples and buys 4 more. How many apples does he have?",
    "A box holds 12 pens. Ann has 5 boxes and gives 7 pens away. How many pens are left?",
    "What is 2 + 2?",
    "Mia reads 10 pages a day. How many pages does she read in 6 days?",
    "A ticket costs 8 dollars. How much do 3 tickets cost?",
]


@pytest.fixture(scope="module")
def engine(demo):
    return TransformersEngine(demo.model, demo.tokenizer)


@pytest.fixture(scope="module")
def prompts(demo):
    return [render_question(demo.tokenizer, PROFILES["gsm8k-tags"], question) for question in QUESTIONS]


def tokens(drawn):
    return [[completion.token_ids for completion in completions] for completions in drawn]


def test_greedy_equals_the_librarys_generate_one_by_one(engine, prompts):
    ours = engine.generate(prompts, SamplingParams(max_new_tokens=48))
    for prompt, completions in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt.token_ids])
        theirs = engine.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=48,
            do_sample=False,
            eos_token_id=list(engine.stop_ids),
            pad_token_id=engine.tokenizer.pad_token_id,
        )
        assert completions[0].token_ids == tuple(theirs[0, ids.shape[1] :].tolist())


def test_a_draw_depends_on_seed_key_and_number_alone(engine, prompts):
    params = SamplingParams(temperature=1.0, max_new_tokens=24, n=4, seed=5)
    keys = list("abcde")
    together = engine.generate(prompts, params, keys=keys)
    alone = engine.generate([prompts[3]], params, keys=["d"])
    later = engine.generate([prompts[3]], SamplingParams(1.0, 24, n=2, seed=5), keys=["d"], first_sample=2)
    assert tokens(alone)[0] == tokens(together)[3]
    assert tokens(later)[0] == tokens(together)[3][2:]
    other = engine.generate([prompts[3]], SamplingParams(1.0, 24, n=4, seed=6), keys=["d"])
    assert tokens(other) != tokens(alone)
    assert len(set(tokens(together)[3])) > 1


def test_small_batches_draw_the_same(engine, prompts, monkeypatch):
    params = SamplingParams(temperature=1.0, max_new_tokens=24, n=3, seed=1)
    whole = tokens(engine.generate(prompts, params))
    monkeypatch.setattr("tools_shared.engines.local.engine.MAX_BATCH_TOKENS", 400)
    assert tokens(engine.generate(prompts, params)) == whole


def test_logprobs_are_the_models(engine, prompts):
    (completion,) = engine.generate(prompts[:1], SamplingParams(0.7, 16, seed=2, logprobs=True))[0]
    ids = torch.tensor([[*prompts[0].token_ids, *completion.token_ids]])
    with torch.inference_mode():
        logits = engine.model(ids).logits[0, len(prompts[0].token_ids) - 1 : -1] / 0.7
    expected = torch.log_softmax(logits, -1).gather(-1, torch.tensor(completion.token_ids)[:, None]).squeeze(1)
    torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=1e-4)


def test_finish_reasons_and_text(engine, prompts):
    cut = engine.generate(prompts, SamplingParams(max_new_tokens=3))
    assert {c.finish_reason for group in cut for c in group} == {"length"}
    whole = engine.generate(prompts, SamplingParams(max_new_tokens=200))
    ended = [c for group in whole for c in group if c.finish_reason == "stop"]
    assert ended
    assert all(c.token_ids[-1] in engine.stop_ids and "<|im_end|>" not in c.text for c in ended)


def test_each_prompt_is_told_when_it_is_done(engine, prompts):
    seen = {}
    drawn = engine.generate(prompts, SamplingParams(1.0, 8, n=2), on_done=lambda i, c: seen.update({i: c}))
    assert seen == dict(enumerate(drawn))


def test_training_mode_is_given_back(engine, prompts):
    engine.model.train()
    engine.generate(prompts[:1], SamplingParams(max_new_tokens=2))
    assert engine.model.training
    engine.model.eval()


def test_a_prompt_that_does_not_fit_is_named(engine):
    long = Prompt("x", (5,) * engine.context_length)
    with pytest.raises(ToolError, match=r"row-7: the prompt has .* lower the completion length or leave the row out"):
        engine.generate([long], SamplingParams(max_new_tokens=1), keys=["row-7"])


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"max_new_tokens": 0}, {"n": 0}, {"top_p": 0}, {"min_p": 2}])
def test_params_out_of_range_are_refused(wrong):
    with pytest.raises(ToolError, match=f"{next(iter(wrong))} must be"):
        SamplingParams(**wrong)


def test_pick_follows_the_distribution():
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).expand(20_000, 4)
    uniform = uniforms(SamplingParams(max_new_tokens=20_000, seed=3), [("a", 0)])[0]
    share = torch.bincount(pick(logits, uniform, SamplingParams(temperature=1.0)), minlength=4) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.015, rtol=0)


@pytest.mark.parametrize(
    ("params", "allowed"),
    [
        (SamplingParams(temperature=1.0, top_k=2), {0, 1}),
        (SamplingParams(temperature=1.0, top_p=0.79), {0, 1}),
        (SamplingParams(temperature=1.0, top_p=0.81), {0, 1, 2}),
        (SamplingParams(temperature=1.0, min_p=0.25), {0, 1, 2}),
        (SamplingParams(temperature=1.0, top_p=1e-9), {0}),
    ],
)
def test_filters_leave_out_the_unlikely(params, allowed):
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05])).expand(1001, 4)
    uniform = torch.linspace(0, 1 - 1e-12, 1001, dtype=torch.float64)
    assert set(pick(logits, uniform, params).tolist()) == allowed


def test_a_token_without_probability_is_never_drawn_even_at_the_edge():
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    edge = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert pick(logits, edge, SamplingParams(temperature=1.0)).item() == 1
