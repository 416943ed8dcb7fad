"""Adapters from elsewhere: placed wholly or refused, and folded in only where that computes the same."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from trained import logits, save_moved

from tools_shared.errors import ToolError
from tools_shared.models import load, resolve
from tools_shared.models.adapters import CONFIG, WEIGHTS
from tools_shared.prompts import PROFILES
from tools_shared.training.save import save_merged
from tools_shared.training.trainable import LoraOptions, make_trainable

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

KINDS = {
    "two layers": {"target_modules": ["q_proj", "v_proj"]},
    "all layers": {"target_modules": "all-linear"},
    "some blocks": {"target_modules": ["q_proj", "down_proj"], "layers_to_transform": [0, 2]},
    "dora": {"target_modules": ["k_proj", "up_proj"], "use_dora": True},
    "rslora": {"target_modules": ["o_proj"], "use_rslora": True},
    "ranks": {"target_modules": ["q_proj", "o_proj"], "rank_pattern": {"layers.1.self_attn.q_proj": 6}},
    "whole head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "whole norms": {"target_modules": ["q_proj"], "modules_to_save": ["input_layernorm"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [5, 9]}},
    "biases": {"target_modules": ["q_proj", "k_proj"], "bias": "lora_only"},
}


@pytest.fixture(scope="module", params=["tied", "apart"])
def base(request, tmp_path_factory, demo):
    """A random Qwen2, whose attention has biases, with its embedding as its head or with one apart."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp(request.param) / "base"
    config = Qwen2Config(**SIZES, vocab_size=len(demo.tokenizer), tie_word_embeddings=request.param == "tied")
    Qwen2ForCausalLM(config).save_pretrained(folder)
    demo.tokenizer.save_pretrained(folder)
    return folder


def made(base, folder, kind):
    """An adapter as PEFT saves it, each of its tensors away from its initial value, and what the model computes."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **KINDS[kind])
    )
    save_moved(model, folder)
    return logits(model)


def loaded(folder):
    return load(resolve(str(folder)), device="cpu")


def edit(folder, **changes):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_adapter_is_placed_and_computes_what_it_did(base, tmp_path, kind):
    expected = made(base, tmp_path / "it", kind)
    torch.testing.assert_close(logits(loaded(tmp_path / "it").model), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_the_configuration_leaves_open_are_those_of_the_file(base, tmp_path, kind):
    expected = made(base, tmp_path / "it", kind)
    edit(tmp_path / "it", target_modules=None)
    torch.testing.assert_close(logits(loaded(tmp_path / "it").model), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_without_one_of_its_tensors_is_refused(base, tmp_path, kind):
    made(base, tmp_path / "it", kind)
    tensors = load_file(tmp_path / "it" / WEIGHTS)
    for name in tensors:
        if ".base_layer." in name and not name.endswith("bias"):
            continue  # a copy of the base's embedding, which PEFT saves beside an adapter on it
        save_file({n: v for n, v in tensors.items() if n != name}, tmp_path / "it" / WEIGHTS)
        with pytest.raises(
            ToolError, match="this adapter (fits its base model only in part|is for another base model)"
        ):
            loaded(tmp_path / "it")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("all layers", {"target_modules": ["q_proj", "v_proj"]}),
        ("two layers", {"target_modules": ["q_proj"]}),
        ("two layers", {"layers_to_transform": [0]}),
        ("two layers", {"exclude_modules": ["v_proj"]}),
        ("some blocks", {"layers_to_transform": [0, 1, 2]}),
        ("some blocks", {"layers_to_transform": None}),
        ("dora", {"use_dora": False}),
        ("two layers", {"use_dora": True}),
        ("whole head", {"modules_to_save": None}),
        ("whole norms", {"modules_to_save": ["norm"]}),
        ("tokens", {"trainable_token_indices": None}),
        ("ranks", {"rank_pattern": {}}),
        ("two layers", {"r": 8}),
        ("embedding", {"target_modules": ["q_proj"]}),
        ("two layers", {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4}),
    ],
)
def test_a_configuration_that_does_not_go_with_the_file_is_refused(base, tmp_path, kind, changes):
    made(base, tmp_path / "it", kind)
    edit(tmp_path / "it", **changes)
    with pytest.raises(ToolError) as refused:
        loaded(tmp_path / "it")
    assert str(tmp_path / "it") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_counts_are_said(base, tmp_path):
    made(base, tmp_path / "it", "all layers")
    edit(tmp_path / "it", target_modules=["q_proj", "v_proj"])
    with pytest.raises(
        ToolError, match=r"42 tensors in adapter_model.safetensors, 12 placed: 30 belong to layers that"
    ):
        loaded(tmp_path / "it")


def test_tensors_under_other_names_are_placed_or_refused(base, tmp_path):
    expected = made(base, tmp_path / "it", "two layers")
    tensors = load_file(tmp_path / "it" / WEIGHTS)
    named = {name.replace("lora_A.", "lora_A.default."): value for name, value in tensors.items()}
    save_file(named, tmp_path / "it" / WEIGHTS)
    torch.testing.assert_close(logits(loaded(tmp_path / "it").model), expected)
    for renamed in (
        {name.removeprefix("base_model.model."): value for name, value in tensors.items()},
        {name.replace("layers.2", "layers.7"): value for name, value in tensors.items()},
    ):
        save_file(renamed, tmp_path / "it" / WEIGHTS)
        with pytest.raises(ToolError, match="fits its base model only in part"):
            loaded(tmp_path / "it")


def test_weights_in_another_format_are_not_read(base, tmp_path):
    made(base, tmp_path / "it", "two layers")
    torch.save(load_file(tmp_path / "it" / WEIGHTS), tmp_path / "it" / "adapter_model.bin")
    (tmp_path / "it" / WEIGHTS).unlink()
    with pytest.raises(ToolError, match=r"no adapter_model.safetensors in it; other formats of weights are not read"):
        loaded(tmp_path / "it")
    (tmp_path / "it" / WEIGHTS).write_bytes(b"torn")
    with pytest.raises(ToolError, match="this adapter cannot be read"):
        loaded(tmp_path / "it")


MERGED_BY = {
    "--adapter merge": lambda spec, _: (
        make_trainable(load(resolve(str(spec)), device="cpu", with_adapter=False), LoraOptions(adapter="merge")).model
    ),
    "--full-finetune": lambda spec, _: (
        make_trainable(
            load(resolve(str(spec)), device="cpu", with_adapter=False), LoraOptions(full_finetune=True)
        ).model
    ),
    "--merge": lambda spec, folder: (
        save_merged(loaded(spec), folder / "merged", PROFILES["boxed"]) and loaded(folder / "merged").model
    ),
}


@pytest.mark.parametrize("way", MERGED_BY)
@pytest.mark.parametrize("kind", KINDS)
def test_folded_in_an_adapter_computes_the_same_or_is_refused_in_every_way(base, tmp_path, kind, way):
    expected = made(base, tmp_path / "it", kind)
    refused, merged = "", None
    try:
        merged = MERGED_BY[way](tmp_path / "it", tmp_path)
    except ToolError as error:
        refused = str(error)
    if base.parent.name.startswith("tied") and kind in ("head", "embedding"):
        assert "merged weights differ from the adapter" in refused
    else:
        assert not refused
        torch.testing.assert_close(logits(merged), expected, atol=1e-4, rtol=1e-3)
