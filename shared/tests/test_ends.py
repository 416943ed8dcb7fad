"""What ends a completion is one set, whoever asks; templates lose nothing and open nothing unsaid."""

import json

import pytest
import torch
from zoo import ZOO, save_model, tokenizer_of

from tools_shared.engines import SamplingParams
from tools_shared.engines.local.engine import TransformersEngine
from tools_shared.errors import ToolError
from tools_shared.models import load, resolve
from tools_shared.prompts import (
    PROFILES,
    Profile,
    check_written,
    encode_example,
    render_question,
    render_turn,
)
from tools_shared.prompts.ends import end_of_turn_id, stop_ids, text_of
from tools_shared.records import Message
from tools_shared.training.save import save, save_merged
from tools_shared.training.trainable import LoraOptions, make_trainable, saves_full_weights

QUESTION = "A tank holds 80 litres and 35 run out. How many are left?"
TAGS, THINK, BOXED = (PROFILES[name] for name in ("gsm8k-tags", "think", "boxed"))


@pytest.fixture(scope="module", params=ZOO)
def animal(request, tmp_path_factory):
    folder = save_model(request.param, tmp_path_factory.mktemp("zoo") / "model")
    return ZOO[request.param], load(resolve(str(folder)), device="cpu")


def named(folder):
    ids = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    return ids if isinstance(ids, list) else [ids]


def test_the_token_that_ends_a_turn_is_the_template_s_and_is_learned_last(animal):
    kind, loaded = animal
    assert loaded.tokenizer.convert_ids_to_tokens(end_of_turn_id(loaded.tokenizer)) == kind.turn
    example = encode_example(loaded.tokenizer, render_question(loaded.tokenizer, BOXED, QUESTION), "\\boxed{45}")
    assert loaded.tokenizer.convert_ids_to_tokens(example.token_ids[-1]) == kind.turn
    assert example.loss_mask[-1]


def test_the_sampler_what_is_saved_and_the_loaded_config_have_one_set(animal, tmp_path):
    kind, loaded = animal
    ends = TransformersEngine(loaded.model, loaded.tokenizer).stop_ids
    wanted = {kind.turn, kind.eos, *(kind.ends or ())}
    assert {loaded.tokenizer.convert_ids_to_tokens(i) for i in ends} == wanted
    configured = loaded.model.generation_config.eos_token_id
    assert set(configured if isinstance(configured, list) else [configured]) == ends
    for name, options in (("adapter", LoraOptions()), ("whole", LoraOptions(full_finetune=True))):
        trained = make_trainable(load(loaded.ref, device="cpu", with_adapter=False), options)
        save(
            trained,
            tmp_path / name,
            tmp_path / name,
            TAGS,
            saves_full_weights(trained, options.adapter, options.full_finetune),
        )
        assert sorted(named(tmp_path / name)) == sorted(ends)
        if name == "adapter":
            save_merged(trained, tmp_path / "merged", TAGS)
            assert sorted(named(tmp_path / "merged")) == sorted(ends)
            assert stop_ids(trained.tokenizer, None) <= ends


def test_plain_generate_stops_where_the_engine_does(animal, tmp_path):
    from transformers import AutoModelForCausalLM

    _, loaded = animal
    save(
        make_trainable(load(loaded.ref, device="cpu"), LoraOptions(full_finetune=True)), tmp_path, tmp_path, TAGS, True
    )
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    engine = TransformersEngine(loaded.model, loaded.tokenizer)
    prompt = render_question(loaded.tokenizer, BOXED, QUESTION)
    (drawn,) = engine.generate([prompt], SamplingParams(temperature=0, max_new_tokens=120))[0]
    with torch.inference_mode():
        out = plain.generate(torch.tensor([prompt.token_ids]), max_new_tokens=120, do_sample=False)
    assert out[0, len(prompt.token_ids) :].tolist() == list(drawn.token_ids)


@pytest.mark.parametrize("profile", [TAGS, THINK, BOXED], ids=lambda p: p.name)
def test_instructions_and_question_are_in_every_prompt(animal, profile):
    _, loaded = animal
    prompt = render_question(loaded.tokenizer, profile, QUESTION)
    assert profile.system in prompt.text
    assert QUESTION in prompt.text


def test_special_tags_are_read_back():
    tokenizer = tokenizer_of(ZOO["qwen2"], tags=(*TAGS.think, *TAGS.answer, "<think>", "</think>"))
    ends = stop_ids(tokenizer, None)
    for profile in (TAGS, THINK):
        check_written(tokenizer, profile)
        text = profile.completion("80 - 35 = 45", "45")
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], end_of_turn_id(tokenizer)]
        assert text_of(tokenizer, ids, ends) == text
        assert profile.parse(text_of(tokenizer, ids, ends)).answer == "45"


def test_tags_that_the_tokenizer_cannot_write_are_refused():
    from tokenizers import normalizers

    tokenizer = tokenizer_of(ZOO["qwen2"])
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(ToolError, match=r"cannot write the tag <SOLUTION> of the prompt profile 'gsm8k-tags'"):
        check_written(tokenizer, TAGS)
    check_written(tokenizer, BOXED)


def test_a_block_that_the_template_opens_is_closed_for_a_profile_with_other_tags(capsys):
    tokenizer = tokenizer_of(ZOO["thinking"])
    for profile in (TAGS, BOXED):
        prompt = render_question(tokenizer, profile, QUESTION)
        assert prompt.text.endswith("<|assistant|><think>\n\n</think>\n\n")
        assert not prompt.opens_thinking
    assert "opens <think>, which is not a tag of the prompt profile" in capsys.readouterr().err
    own = render_question(tokenizer, THINK, QUESTION)
    assert own.opens_thinking
    assert own.text.endswith("<think>\n")


REPLY = "<think>\n80 - 35 = 45\n</think>\n\n\\boxed{45}"


@pytest.mark.parametrize("profile", [TAGS, THINK, BOXED], ids=lambda p: p.name)
@pytest.mark.parametrize("name", ["thinking", "qwen3", "qwen2", "phi3 first"])
def test_reasoning_that_a_row_brings_stands_once_and_in_no_empty_block(name, profile):
    tokenizer = tokenizer_of(ZOO[name])
    prompt, completion = render_turn(tokenizer, profile, [Message("user", QUESTION)], Message("assistant", REPLY))
    whole = prompt.text + completion
    assert whole.count("<think>") == whole.count("</think>") == 1
    assert whole.endswith("<think>\n80 - 35 = 45\n</think>\n\n\\boxed{45}")


def test_a_reply_in_the_profile_s_own_tags_is_left_as_it_is():
    tokenizer = tokenizer_of(ZOO["qwen3"])
    reply = TAGS.completion("80 - 35 = 45", "45")
    prompt, completion = render_turn(tokenizer, TAGS, [Message("user", QUESTION)], Message("assistant", reply))
    assert completion == reply
    assert prompt.text.endswith("</think>\n\n")


def test_a_message_that_a_template_leaves_out_is_refused():
    tokenizer = tokenizer_of(ZOO["qwen2"])
    tokenizer.chat_template = "{{ 'Answer: ' }}"
    profile = Profile("own", "Answer briefly.", ("<a>", "</a>"))
    with pytest.raises(ToolError, match="leaves out the user's message"):
        render_question(tokenizer, profile, QUESTION)


def test_a_padding_token_outside_the_embedding_is_not_used(tmp_path, capsys):
    folder = save_model("qwen2", tmp_path / "model")
    loaded = load(resolve(str(folder)), device="cpu")
    tokenizer = loaded.tokenizer
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    again = load(resolve(str(folder)), device="cpu")
    assert again.tokenizer.pad_token_id == again.tokenizer.eos_token_id
    assert "the padding token <pad>" in capsys.readouterr().err
    prompts = [render_question(again.tokenizer, BOXED, text) for text in (QUESTION, "3 + 4?")]
    TransformersEngine(again.model, again.tokenizer).generate(prompts, SamplingParams(temperature=0, max_new_tokens=4))
