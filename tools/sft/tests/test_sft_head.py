"""Logits are made only where something is learned: the loss and the gradients are those of all logits."""

from functools import partial

import pytest
import torch
from click.testing import CliRunner
from zoo import ZOO, save_model, tokenizer_of

from tools_sft.cli import main
from tools_sft.config import SftConfig
from tools_sft.data.encoding import collate, encode, rows_of
from tools_sft.data.packing_check import contaminates
from tools_sft.train import as_dataset
from tools_sft.trainer import SftTrainer
from tools_shared.models import choose_profile, load, resolve
from tools_shared.records import Problem
from tools_shared.training.trainable import LoraOptions, load_trainable

ROWS = [
    Problem("a", "How far is it?", "12 km", "3 h at 4 km/h"),
    Problem("b", "A long question about a train, its cars and their wheels. How many?", "96", "8 * 12 = 96"),
    Problem("c", "And now?", "0", "Nothing is left of it, " * 6),
]


def trainer_of(loaded, config, tmp_path, examples):
    from trl import SFTConfig as TrlConfig

    args = TrlConfig(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none", remove_unused_columns=False,
        max_length=None, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    return SftTrainer(
        model=loaded.model, args=args, train_dataset=as_dataset(rows_of(examples, config.max_length, config.packing)),
        data_collator=partial(collate, pad_token_id=loaded.tokenizer.pad_token_id), processing_class=loaded.tokenizer,
    )  # fmt: skip


def by_hand(model, batch):
    """Cross-entropy of the learned tokens over the logits of all positions."""
    given = {name: value for name, value in batch.items() if name != "labels"}
    logits = model(**given, use_cache=False).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten())


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("family", ["qwen2 base", "gemma2", "granite", "cohere"])
def test_loss_and_gradients_are_those_of_all_logits(family, packing, tmp_path):
    config = SftConfig(device="cpu", packing=packing)
    ref = resolve(str(save_model(family, tmp_path / "base")))
    torch.manual_seed(0)
    loaded = load_trainable(ref, LoraOptions(device="cpu"))
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    examples = encode(loaded.tokenizer, choose_profile(ref, None), ROWS, config).examples
    trainer = trainer_of(loaded, config, tmp_path, examples)
    batch = trainer.data_collator(list(trainer.train_dataset))
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    expected = by_hand(loaded.model, batch)
    wanted = torch.autograd.grad(expected, trained)
    loss = trainer.compute_loss(loaded.model, dict(batch))
    found = torch.autograd.grad(loss, trained)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_a_batch_without_a_learned_token_has_a_loss_of_0(tmp_path):
    loaded = load_trainable(resolve(str(save_model("llama3", tmp_path / "base"))), LoraOptions(device="cpu"))
    config = SftConfig(device="cpu")
    examples = encode(loaded.tokenizer, choose_profile(loaded.ref, None), ROWS, config).examples
    trainer = trainer_of(loaded, config, tmp_path, examples)
    batch = trainer.data_collator(list(trainer.train_dataset))
    batch["labels"][:] = -100
    loss = trainer.compute_loss(loaded.model, batch)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "mistral", "phi3", "neox"])
def test_models_that_keep_packed_examples_apart_are_packed(family, tmp_path):
    assert not contaminates(load(resolve(str(save_model(family, tmp_path / "base"))), device="cpu"))


OTHERS = {
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_models_that_do_not_are_found_out_and_trained_unpacked(kind, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = tokenizer_of(ZOO["gpt2"])
    torch.manual_seed(1)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **OTHERS[kind])
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)  # so that what lies before matters, as in trained models
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "rows.csv").write_text("question,answer\n" + "".join(f"{n} + 1?,#### {n + 1}\n" for n in range(6)))
    words = ["--base-model", tmp_path / "base", "--data", tmp_path / "rows.csv", "--no-eval", "--packing"]
    words += ["--lora-target", {"opt": "q_proj", "mamba": "in_proj"}[kind]]
    words += ["--max-steps", 1, "--profile", "boxed", "--output-dir", tmp_path / "out"]
    done = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "does not keep packed examples apart, so they are not packed" in done.output
