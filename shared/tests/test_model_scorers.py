"""Whole models as scorers, each as the model alone reads."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, AutoTokenizer

from tools_shared.demo import model_path
from tools_shared.errors import ToolError
from tools_shared.scorers.models import steps_of
from tools_shared.scorers.text import TextResponse, open_text_scorer, scorer_weights

RESPONSES = [
    TextResponse("What is 6 times 7?", "Six times seven is forty-two.\nThe answer is 42."),
    TextResponse(
        "Factor x^2 - 1.", "x^2 - 1 is a difference of squares.\r\n\r\nSo (x - 1)(x + 1).\nDone, and checked."
    ),
    TextResponse("How many legs has a crab?", "10"),
]


@pytest.fixture(scope="module")
def process_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("prm") / "model"
    torch.manual_seed(1)
    AutoModelForTokenClassification.from_pretrained(model_path(), num_labels=2).save_pretrained(path)
    AutoTokenizer.from_pretrained(model_path()).save_pretrained(path)
    return path


def test_a_process_reward_model_is_read_at_the_separators_as_trl_trains_it(process_model):
    found = open_text_scorer(f"model:{process_model}").score(RESPONSES)
    tokenizer = AutoTokenizer.from_pretrained(process_model)
    model = AutoModelForTokenClassification.from_pretrained(process_model).eval()
    for response, scored in zip(RESPONSES, found, strict=True):
        steps = [line.strip() for line in response.text.splitlines() if line.strip()]
        ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        ids, at = ids + tokenizer.encode(response.question, add_special_tokens=False), []
        for step in steps:
            ids += tokenizer.encode(step, add_special_tokens=False) + tokenizer.encode("\n", add_special_tokens=False)
            at.append(len(ids) - 1)
        with torch.inference_mode():
            alone = model(input_ids=torch.tensor([ids])).logits[0].softmax(-1)[at, 1]
        assert scored.steps == pytest.approx(alone.tolist(), abs=1e-4)
        assert scored.score.mean == pytest.approx(alone.mean().item(), abs=1e-4)
        assert len(scored.ends) == len(steps)


def test_a_language_model_judges_by_its_mean_log_probability():
    from tools_shared.prompts import DEFAULT_PROFILE, PROFILES, render_question

    found = open_text_scorer("model:demo").score(RESPONSES)
    tokenizer, model = AutoTokenizer.from_pretrained(model_path()), AutoModelForCausalLM.from_pretrained(model_path())
    for response, scored in zip(RESPONSES, found, strict=True):
        prompt = list(render_question(tokenizer, PROFILES[DEFAULT_PROFILE], response.question).token_ids)
        own = tokenizer.encode(response.text, add_special_tokens=False)
        with torch.inference_mode():
            logits = model.eval()(input_ids=torch.tensor([prompt + own])).logits[0, len(prompt) - 1 : -1]
        mean = logits.log_softmax(-1)[range(len(own)), own].mean().item()
        assert math.log(scored.score.mean) == pytest.approx(mean, abs=1e-3)


def test_what_cannot_be_read_keeps_its_place_and_its_reason(process_model):
    scorer = open_text_scorer(f"model:{process_model}")
    long = TextResponse("q", "word " * 4000)
    found = scorer.score([RESPONSES[0], TextResponse("q", " \n "), long, RESPONSES[2]])
    assert [scored.score is None for scored in found] == [False, True, True, False]
    assert found[1].reason == "the response is empty"
    assert "tokens are more than the model's" in found[2].reason


def test_other_models_are_refused_by_what_they_are(tmp_path):
    AutoModelForTokenClassification.from_pretrained(model_path(), num_labels=3).save_pretrained(tmp_path / "three")
    with pytest.raises(ToolError, match="TokenClassification with 3 outputs is no scorer"):
        open_text_scorer(f"model:{tmp_path / 'three'}")
    with pytest.raises(ToolError):
        scorer_weights(f"model:{tmp_path / 'nothing'}")


def test_steps_are_the_lines_that_say_something():
    assert steps_of("a\n\n  \nb\r\nc") == ["a", "b", "c"]
    assert steps_of("") == []
