"""Small runs to export: an adapter on a model of each family."""

import json

import torch
from transformers import AutoModelForCausalLM
from zoo import ZOO, save_model

from tools_shared.cli import Invocation
from tools_shared.models import resolve
from tools_shared.prompts import PROFILES
from tools_shared.runs import RunConfig, draft
from tools_shared.training.save import save
from tools_shared.training.trainable import LoraOptions, load_trainable

PROFILE = PROFILES["think"]
METRICS = {"steps": 12, "accuracy": {"estimate": 0.375, "low": 0.229, "high": 0.547, "n": 32}, "last_loss": 1.25}


def base_model(family, folder, dtype=torch.float32, **changes):
    """A model of the family, its norms' weights away from their initial value."""
    torch.manual_seed(7)
    save_model(family, folder)
    _merge_letters(folder / "tokenizer.json")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    if family.startswith("gemma"):
        changes = {"query_pre_attn_scalar": model.config.head_dim, **changes}  # as in those that are published
    model.config.update(changes)
    model.to(dtype).save_pretrained(folder)
    return folder


def _merge_letters(path):
    """Give a tokenizer of bytes two merges, in the places of bytes that no text has."""
    told = json.loads(path.read_text())
    vocab = told["model"]["vocab"]
    vocab["th"], vocab["in"] = vocab.pop("\u00ff"), vocab.pop("\u00fe")
    told["model"]["merges"] = [["t", "h"], ["i", "n"]]
    path.write_text(json.dumps(told))


def trained(base):
    """The base with an adapter on all its linear layers that changes what it computes."""
    torch.manual_seed(8)
    loaded = load_trainable(resolve(str(base)), LoraOptions(device="cpu", dtype="fp32"))
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return loaded


def finished_run(base, folder, profile=PROFILE):
    """A run directory of a trained adapter, as a trainer leaves it."""
    loaded = trained(base)
    with draft(
        folder, RunConfig(), Invocation("tools-sft", "0.2.0", ("tools-sft", "--base-model", str(base))), "sft"
    ) as run:
        run.add_input("base_model", str(base), "0" * 64)
        run.add_input("train", f"{base}/rows.jsonl", "1" * 64, n_read=40, n_used=37)
        save(loaded, run.model_dir, run.final / "model", profile, full_weights=False)
        run.finish(METRICS, profile=profile.name)
    return folder


def sentence_pieces(space_first=False):
    """A tokenizer of SentencePiece's kind (Gemma's, or Llama 2's with a space in front), trained on a few lines."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    lines = [
        "the sum of 12 and 30 is 42",
        "then the other number is 7 times 6",
        "there are 3 apples in each of 4 boxes",
    ] * 3
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace = normalizers.Replace(" ", "\u2581")
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), replace]) if space_first else replace
    inner.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    told = json.loads(inner.to_str())
    told["added_tokens"] = told["added_tokens"][:4]  # bytes are pieces, and no tokens of their own
    inner = Tokenizer.from_str(json.dumps(told))
    inner.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in ("<start_of_turn>", "<end_of_turn>")]
    )
    names = {"eos_token": "<eos>", "bos_token": "<bos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **names)
    tokenizer.chat_template = ZOO["gemma3"].template
    return tokenizer
