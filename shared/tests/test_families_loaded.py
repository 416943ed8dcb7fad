"""What differs between families where a model is loaded, given an adapter and merged."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from trained import TOKENS, logits, save_moved
from zoo import ZOO, save_model

from tools_shared.errors import ToolError
from tools_shared.models import load, resolve
from tools_shared.models.adapters import WEIGHTS
from tools_shared.prompts import PROFILES
from tools_shared.training.save import save, save_merged
from tools_shared.training.trainable import LoraOptions, check_trainable, load_trainable

PROFILE = PROFILES["gsm8k-tags"]
TAGS = ["<reason>", "</reason>", "<result>", "</result>"]


def resized(base, folder, **lora):
    """An adapter from a notebook that added its tags to the tokenizer; PEFT then saves the embeddings beside it."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(2)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(TAGS)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model = get_peft_model(model, LoraConfig(r=4, task_type="CAUSAL_LM", **lora))
    save_moved(model, folder)
    tokenizer.save_pretrained(folder)
    ids = torch.cat([TOKENS, torch.tensor([[len(tokenizer) - 1, len(tokenizer) - 4]])], dim=1)
    return ids, logits(model, ids)


@pytest.mark.parametrize("lora", [{}, {"modules_to_save": ["embed_tokens"]}], ids=["plain", "trained"])
@pytest.mark.parametrize("family", ["qwen2 base", "gemma2", "llama3"])
def test_an_adapter_with_added_tokens_resizes_its_base_and_goes_on(family, lora, tmp_path):
    base = save_model(family, tmp_path / "base")
    lora = {"target_modules": ["q_proj", "up_proj"], **lora}
    ids, expected = resized(base, tmp_path / "adapter", **lora)
    ref = resolve(str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(load(ref, device="cpu").model, ids), expected)
    trained = load_trainable(ref, LoraOptions(device="cpu"))
    save(trained, tmp_path / "next", tmp_path / "next", PROFILE, full_weights=False)
    torch.testing.assert_close(logits(load(resolve(str(tmp_path / "next")), device="cpu").model, ids), expected)


def test_added_tokens_without_their_embeddings_are_named(tmp_path):
    base = save_model("llama3", tmp_path / "base")
    resized(base, tmp_path / "adapter", target_modules=["q_proj"])
    tensors = load_file(tmp_path / "adapter" / WEIGHTS)
    n = len(tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if "embed_tokens" not in name}
    assert len(tensors) == n - 1
    save_file(tensors, tmp_path / "adapter" / WEIGHTS)
    with pytest.raises(ToolError, match="no whole embedding of the others"):
        load(resolve(str(tmp_path / "adapter")), device="cpu")


def test_capped_attention_scores_are_computed(tmp_path):
    base = save_model("gemma2", tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    # Weights as large as trained ones: the scores of random ones never come near the cap.
    save_file(
        {n: t * 30 if "q_proj" in n else t for n, t in tensors.items()}, base / "model.safetensors", {"format": "pt"}
    )
    ref = resolve(str(base))
    from transformers import AutoModelForCausalLM

    exact = logits(AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager"))
    for model in (load(ref, device="cpu").model, load_trainable(ref, LoraOptions(device="cpu")).model):
        torch.testing.assert_close(logits(model), exact)


def test_asking_for_attention_without_the_cap_is_warned_of(tmp_path, capsys):
    base = save_model("gemma2", tmp_path / "base")
    load_trainable(resolve(str(base)), LoraOptions(device="cpu", attention="sdpa"))
    assert "leaves out the capped attention scores" in capsys.readouterr().err


def test_a_window_longer_than_the_context_is_none(tmp_path):
    from tools_shared.engines.local.continuous import has_slots

    base = save_model("phi3", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"sliding_window": config["max_position_embeddings"] + 7}))
    assert has_slots(load(resolve(str(base)), device="cpu").model.config)


@pytest.mark.parametrize("family", ["qwen2", "gpt2"])
def test_an_adapter_on_the_head_is_refused_before_loading(family, tmp_path):
    base = save_model(family, tmp_path / "base")
    with pytest.raises(ToolError, match="--lora-target lm_head would be on the layer that gives the probabilities"):
        check_trainable(resolve(str(base)), LoraOptions(lora_target=("lm_head",), device="cpu"))


@pytest.mark.parametrize("family", ZOO)
def test_all_linear_layers_of_every_family_can_be_trained(family, tmp_path):
    check_trainable(resolve(str(save_model(family, tmp_path / "base"))), LoraOptions(device="cpu"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_merged_weights_keep_the_number_format_of_the_base(dtype, tmp_path):
    from transformers import AutoModelForCausalLM

    base = save_model("qwen3", tmp_path / "base")
    AutoModelForCausalLM.from_pretrained(base, dtype=dtype).save_pretrained(base)
    trained = load_trainable(resolve(str(base)), LoraOptions(device="cpu"))
    with torch.no_grad():
        for name, parameter in trained.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    difference = save_merged(trained, tmp_path / "merged", PROFILE)
    assert 0 < difference < 0.1
    assert {tensor.dtype for tensor in load_file(tmp_path / "merged" / "model.safetensors").values()} == {dtype}


@pytest.mark.parametrize("asked", ["full_finetune", "merge"])
def test_quantised_weights_are_named(asked, tmp_path):
    base = save_model("qwen2", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True, "_load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(ToolError, match=r"quantised \(bitsandbytes\), and an adapter cannot be folded"):
        check_trainable(resolve(str(base)), LoraOptions(device="cpu", **{asked: True}))
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        with pytest.raises(ToolError, match=r"pip install 'tools-shared\[quantized\]'"):
            load(resolve(str(base)), device="cpu")
