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
from tools_sft.trainer import SftTrainer, tree_of
from tools_shared.models import choose_profile, load, resolve
from tools_shared.records import Problem
from tools_shared.training.packing import alike, n_tokens
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
    loaded.model.train()  # layers keep their products alone
    assert trainer.packs == (family in ("qwen2 base", "granite"))
    trained = [p for p in loaded.model.parameters() if p.requires_grad]
    expected = by_hand(loaded.model, batch)
    wanted = torch.autograd.grad(expected, trained)
    loss = trainer.compute_loss(loaded.model, dict(batch))
    found = torch.autograd.grad(loss, trained)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("family", ["qwen2 base", "gemma2"])
def test_held_out_sums_are_those_of_each_row_alone(family, tmp_path):
    config = SftConfig(device="cpu")
    ref = resolve(str(save_model(family, tmp_path / "base")))
    loaded = load_trainable(ref, LoraOptions(device="cpu"))
    examples = encode(loaded.tokenizer, choose_profile(ref, None), ROWS, config).examples
    trainer = trainer_of(loaded, config, tmp_path, examples)
    rows = list(trainer.train_dataset)
    found = trainer.loss_sums(rows)
    loaded.model.eval()
    for row, (total, n) in zip(rows, found, strict=True):
        batch = trainer.data_collator([row])
        assert n == int((batch["labels"] != -100).sum())
        assert total / n == pytest.approx(by_hand(loaded.model, batch).item(), abs=1e-5)


def test_rows_that_begin_alike_are_read_once_and_nothing_after_the_last_learned_token():
    def batch(*rows):
        width = max(len(ids) for ids, _ in rows)
        pad = [width - len(ids) for ids, _ in rows]
        return {
            "input_ids": torch.tensor([[*ids, *[0] * n] for (ids, _), n in zip(rows, pad, strict=True)]),
            "labels": torch.tensor([[*labels, *[-100] * n] for (_, labels), n in zip(rows, pad, strict=True)]),
            "attention_mask": torch.tensor([[1] * len(r[0]) + [0] * n for r, n in zip(rows, pad, strict=True)]),
        }

    one = ([5, 6, 7, 8, 9], [-100, -100, -100, 8, 9])
    other = ([5, 6, 4, 3, 2, 1], [-100, -100, -100, 3, 2, -100])
    apart = ([9, 9, 1], [-100, -100, 1])
    tree = tree_of(batch(one, other, apart))
    # [5], then 6 7 8 and 6 4 3 behind it; [9] and 9 by itself: a last token predicts nothing.
    assert sorted(tree.tokens[0].tolist()) == sorted([5, 6, 7, 8, 6, 4, 3, 9, 9])
    learned = zip(tree.rows.tolist(), tree.labels[0].tolist(), strict=True)
    assert sorted(learned) == [(0, 8), (0, 9), (1, 2), (1, 3), (2, 1)]
    rows = alike([(0, ids, [label != -100 for label in labels]) for ids, labels in (one, other, apart)])
    assert n_tokens(rows) == tree.tokens.shape[1]
    same = tree_of(batch(one, one))  # prompts end where learning begins
    assert same.tokens[0].tolist() == [5, 6, 7, 8, 7, 8]
    nothing = tree_of(batch(([4, 4], [-100, -100])))
    assert nothing.labels.tolist() == [[-100]]


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


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("family", ["gpt2", "qwen2", "qwen3", "gemma2", "mistral", "phi3", "neox", "llama3"])
def test_models_that_keep_packed_examples_apart_are_packed(family, dtype, tmp_path):
    loaded = load(resolve(str(save_model(family, tmp_path / "base"))), dtype, device="cpu")
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.mul_(4 if weight.dim() > 1 else 1)
    assert not contaminates(loaded)


def test_attention_to_the_text_before_and_positions_of_a_row_are_found_out(tmp_path, monkeypatch):
    from types import MethodType

    loaded = load(resolve(str(save_model("llama3", tmp_path / "base"))), "fp32", device="cpu")
    forward = type(loaded.model).forward
    with torch.no_grad():
        for weight in loaded.model.parameters():
            weight.mul_(4 if weight.dim() > 1 else 1)

    def sees_all(self, input_ids, position_ids, **more):
        n = input_ids.shape[1]
        return forward(self, input_ids=input_ids, position_ids=torch.arange(n)[None], **more)

    def stretched_by_the_row(self, input_ids, position_ids, **more):
        starts = (position_ids[0] == 0).cumsum(0)
        apart = (starts[:, None] == starts[None]).tril()[None, None]
        stretched = position_ids * input_ids.shape[1]
        return forward(self, input_ids=input_ids, position_ids=stretched, attention_mask=apart, **more)

    for wrong in (sees_all, stretched_by_the_row):
        loaded.model.forward = MethodType(wrong, loaded.model)
        assert contaminates(loaded), wrong.__name__


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
