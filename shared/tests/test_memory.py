"""The memory to expect is advice: reckoned for every family, and where it cannot be, nothing is stopped."""

import pytest

from tools_shared.errors import ToolError
from tools_shared.models import resolve
from tools_shared.training.memory import KEPT, estimate, expected
from tools_shared.training.trainable import LoraOptions

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
FAMILIES = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "rotary_dim": 8},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "vocab_size": 64,
        "attention_types": [[["global"], 2]],
    },
    "gpt_neox": dict(SMALL, intermediate_size=64),
    "opt": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64, "vocab_size": 64},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64},
    "falcon": SMALL,
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "vocab_size": 64},
    "qwen2": dict(SMALL, num_key_value_heads=2, intermediate_size=64),
    "phi3": dict(SMALL, num_key_value_heads=2, intermediate_size=64, pad_token_id=0),
    "gemma2": dict(SMALL, num_key_value_heads=2, intermediate_size=64, head_dim=8),
    "olmo2": dict(SMALL, num_key_value_heads=2, intermediate_size=64),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_has_an_estimate(kind, tmp_path):
    from transformers import AutoConfig

    AutoConfig.for_model(kind, **FAMILIES[kind]).save_pretrained(tmp_path)
    memory = estimate(resolve(str(tmp_path)), LoraOptions(device="cpu"), 4, 128, False, 512)
    assert memory.weights > 0
    assert memory.gradients > 0, "an adapter on the linear maps has gradients"
    assert memory.activations > 16 * 4 * 128 * 64
    assert memory.sampling == 2 * 4 * 512 * _keys(kind) * 2


def _keys(kind):
    """Width of keys: all four heads of 8, two of them, or one as in BigCode's and Falcon's multi-query attention."""
    return 8 if kind in ("gpt_bigcode", "falcon") else 16 if "num_key_value_heads" in FAMILIES[kind] else 32


def test_a_model_of_text_and_images_is_reckoned_by_its_text(tmp_path):
    from transformers import Gemma3Config

    text = dict(SMALL, num_key_value_heads=2, intermediate_size=64, head_dim=8)
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
    }
    Gemma3Config(text_config=text, vision_config=vision).save_pretrained(tmp_path)
    assert estimate(resolve(str(tmp_path)), LoraOptions(device="cpu"), 4, 128, True).total > 0


def test_what_cannot_be_reckoned_is_a_sentence_and_a_mistake_of_the_user_stays_one(capsys):
    assert expected(lambda: object().intermediate_size) is None
    assert "the memory to expect cannot be reckoned" in capsys.readouterr().err

    def wrong():
        raise ToolError("no such folder")

    with pytest.raises(ToolError, match="no such folder"):
        expected(wrong)


def test_a_large_vocabulary_is_reckoned_by_the_tiles_that_its_logits_are_made_in(tmp_path):
    from transformers import AutoConfig

    config = AutoConfig.for_model("qwen2", **FAMILIES["qwen2"] | {"vocab_size": 150_000})
    config.save_pretrained(tmp_path)
    ref, options = resolve(str(tmp_path)), LoraOptions(device="cpu")
    whole = estimate(ref, options, 8, 512, False, head_tokens=None).activations
    tiled = estimate(ref, options, 8, 512, False, head_tokens=256).activations
    assert whole - tiled == pytest.approx(KEPT * (16 * 8 * 512 * 150_000 - 12 * 256 * 32768))
