"""The demo model's tokenizer and weights, and the script that makes them."""

import hashlib

import pytest
from demo_model.lessons import lesson
from demo_model.pretrain import PretrainConfig, pretrain
from demo_model.tokenizer import TAGS, TURN_END, TURN_START
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.demo import model_path
from tools_shared.demo.problems import generate, owner
from tools_shared.prompts import PROFILES, end_of_turn_id, render_question

MAX_BYTES = 6_000_000


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_path())


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_path())


def test_model_files_are_small_and_complete():
    names = {path.name: path.stat().st_size for path in model_path().iterdir()}
    wanted = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert wanted | {"README.md"} <= set(names)
    assert sum(names.values()) < MAX_BYTES


def test_tags_are_single_tokens_that_survive_decoding(tokenizer):
    for tag in TAGS:
        assert len(tokenizer(tag)["input_ids"]) == 1
        assert tokenizer.decode(tokenizer(f"a {tag}b")["input_ids"], skip_special_tokens=True) == f"a {tag}b"
    for profile in PROFILES.values():
        assert set(profile.think or ()) <= set(TAGS)


def test_digits_are_tokens_of_their_own(tokenizer):
    assert [tokenizer.decode([i]) for i in tokenizer("12+345=357")["input_ids"]] == list("12+345=357")


@settings(deadline=None, max_examples=300)
@given(text=st.text())
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_chat_layout_and_end_of_turn(tokenizer):
    text = render_question(tokenizer, PROFILES["gsm8k-tags"], "How many?").text
    assert text.startswith(f"{TURN_START}system\n")
    assert text.endswith(f"How many?{TURN_END}\n{TURN_START}assistant\n")
    assert tokenizer.eos_token == TURN_END
    assert end_of_turn_id(tokenizer) == tokenizer.eos_token_id
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_prompts_and_completions_are_short(tokenizer):
    profile = PROFILES["gsm8k-tags"]
    for row in (generate(index, "test") for index in range(300)):
        reasoning, answer = row["answer"].rsplit("\n#### ", 1)
        assert len(render_question(tokenizer, profile, row["question"]).token_ids) <= 130
        assert len(tokenizer(profile.completion(reasoning, answer))["input_ids"]) <= 90


def test_the_model_gives_finite_logits(tokenizer, model):
    import torch

    ids = torch.tensor([render_question(tokenizer, PROFILES["gsm8k-tags"], "2+3?").token_ids])
    logits = model(input_ids=ids).logits
    assert logits.shape == (1, ids.shape[1], len(tokenizer))
    assert torch.isfinite(logits).all()


def test_lessons_never_answer_with_our_tags_and_own_their_questions():
    config = PretrainConfig()
    for one in (lesson(index, config.drills, config.longest) for index in range(500)):
        assert not any(tag in one.assistant for tag in TAGS)
        assert "\\boxed" not in one.assistant
        assert "answer" not in one.assistant or owner(one.user) == "pretrain"


def test_pretraining_is_deterministic():
    runs = [
        pretrain(PretrainConfig(steps=2, tokens_per_step=512, tokenizer_lessons=200), report=lambda _: None)
        for _ in "ab"
    ]
    digests = [
        hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in model.state_dict().values())).hexdigest()
        for model, _ in runs
    ]
    assert digests[0] == digests[1]
    vocabularies = [tokenizer.get_vocab() for _, tokenizer in runs]
    assert vocabularies[0] == vocabularies[1]
