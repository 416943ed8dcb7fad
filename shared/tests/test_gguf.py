"""A GGUF file written here, of the shape that llama.cpp's converter writes for Qwen2, becomes a model folder."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from tools_shared.errors import ToolError
from tools_shared.models import load, resolve

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra: gguf)")

WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefghijklmnopqrstuvwxyzĠ", "ab", "Ġa"]
END = 2
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|im_end|>{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def random_model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(
        vocab_size=len(WORDS), num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, **sizes
    )
    return Qwen2ForCausalLM(config)


def gguf_name(name: str) -> str:
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    inner, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{NAMES[inner]}.{kind}"


def write(path, model, quantised=False):
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] * 3 + [1] * (len(WORDS) - 3))
    writer.add_token_merges(["a b", "Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_chat_template(TEMPLATE)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = tensor.float().numpy()
        if quantised and values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def logits(model):
    with torch.inference_mode():
        return model.eval()(input_ids=torch.arange(3, 30)[None]).logits.float()


def test_a_file_computes_what_its_model_did_and_ends_where_it_says(tmp_path):
    model = random_model()
    loaded = load(resolve(str(write(tmp_path / "m.gguf", model))), dtype="fp32", device="cpu")
    torch.testing.assert_close(logits(loaded.model), logits(model))
    assert loaded.tokenizer.eos_token == loaded.tokenizer.pad_token == "<|im_end|>"
    assert loaded.model.config.eos_token_id == loaded.model.generation_config.eos_token_id == END
    assert loaded.tokenizer.chat_template == TEMPLATE


def test_the_folder_is_read_by_transformers_alone_and_keeps_the_files_number_format(tmp_path, cache):
    resolve(str(write(tmp_path / "m.gguf", random_model())))
    (folder,) = (cache / "gguf").iterdir()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert AutoTokenizer.from_pretrained(folder).eos_token_id == END


def test_quantised_weights_are_said_to_be_dequantised_and_recorded_once(tmp_path, cache, capsys):
    model = random_model()
    path = write(tmp_path / "m.gguf", model, quantised=True)
    loaded = load(resolve(str(path)), dtype="fp32", device="cpu")
    assert "dequantised from Q8_0" in capsys.readouterr().err
    (folder,) = (cache / "gguf").iterdir()
    assert json.loads((folder / "gguf.json").read_text())["formats"]["Q8_0"] == 15
    assert (logits(loaded.model) - logits(model)).abs().max() < 0.1
    resolve(str(path))
    assert "dequantised" not in capsys.readouterr().err
    assert [p.name for p in (cache / "gguf").iterdir()] == [folder.name]


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all" * 9, b"GGUF\x03\0\0\0" + b"\xff" * 64])
def test_what_is_no_gguf_is_a_sentence_and_leaves_nothing(tmp_path, cache, content):
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ToolError, match=r"m\.gguf: "):
        resolve(str(tmp_path / "m.gguf"))
    assert not any((cache / "gguf").iterdir())


def test_a_named_model_that_is_not_made_names_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ToolError, match="make models/smollm2"):
        resolve("smollm2")
