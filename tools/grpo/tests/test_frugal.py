"""What the packed forward gives, beside stock TRL on the same batch: loss and gradients of every loss on offer."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from tools_grpo.losses.shared_prefix import SharedPrefixTrainer, without_noise
from tools_shared.training.packing import CHECKED, plant, rows_of, why_not

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
SIZES = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def tiny(kind, **changes):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **changes})
    if hasattr(config, "head_dim"):
        config.head_dim = 8
    if hasattr(config, "sliding_window") and "sliding_window" not in changes:
        config.sliding_window = None
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():  # else all tokens are about as likely, and an error would not show
        torch.nn.init.normal_(weight, std=0.25) if weight.ndim > 1 else None
    return model


def demo():
    from tools_shared.models import load, resolve
    from tools_shared.training.trainable import LoraOptions, make_trainable

    torch.manual_seed(0)
    model = make_trainable(load(resolve("demo"), device="cpu", with_adapter=False), LoraOptions()).model
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zeros: the gradient of the other factor would be zero too
            torch.nn.init.normal_(weight, std=0.02)
    return model


def trainer_of(cls, model, folder, **options):
    from trl import GRPOConfig

    from tools_shared.models import resolve
    from tools_shared.models.load import load_tokenizer

    args = GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=12, gradient_accumulation_steps=2, num_generations=4,
        max_completion_length=16, use_cpu=True, bf16=False, report_to="none", temperature=0.9,
        gradient_checkpointing=options.pop("gradient_checkpointing", False), **options,
    )  # fmt: skip
    trainer = cls(
        model=model,
        args=args,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 24),
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        processing_class=load_tokenizer(resolve("demo")),
    )
    trainer.current_gradient_accumulation_steps = 2
    model.train()
    return trainer


def batch(vocabulary=96, dead=(), truncated=()):
    """Three groups of four, prompts and completions of different lengths, padded as TRL pads them."""
    draw = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, vocabulary, (n,), generator=draw) for n in (5, 9, 1)]
    lengths = [3, 16, 7, 1, 16, 2, 11, 5, 4, 9, 16, 8]
    ids, seen = torch.zeros(12, 9, dtype=torch.long), torch.zeros(12, 9, dtype=torch.long)
    new, mask = torch.zeros(12, 16, dtype=torch.long), torch.zeros(12, 16, dtype=torch.long)
    for i, length in enumerate(lengths):
        prompt = prompts[i // 4]
        ids[i, 9 - len(prompt) :], seen[i, 9 - len(prompt) :] = prompt, 1
        new[i, :length] = torch.randint(3, vocabulary, (length,), generator=draw)
        mask[i, :length] = int(i not in truncated)
    advantages = torch.randn(12, generator=draw)
    for group in dead:
        advantages[4 * group : 4 * group + 4] = 0
    return {
        "prompt_ids": ids, "prompt_mask": seen, "completion_ids": new, "completion_mask": mask,
        "advantages": advantages, "num_items_in_batch": torch.tensor(170),
        "old_per_token_logps": -6 * torch.rand(12, 16, generator=draw), "ref_per_token_logps": -5 + torch.zeros(12, 16),
    }  # fmt: skip


def loss_and_gradients(trainer, model, inputs):
    model.zero_grad()
    loss = trainer._compute_loss(model, dict(inputs))
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def assert_as_stock(make, folder, inputs, **options):
    """`make` gives the same model each time it is called."""
    from trl import GRPOTrainer

    stock, frugal = (trainer_of(cls, make(), folder, **options) for cls in (GRPOTrainer, SharedPrefixTrainer))
    assert frugal.shares_prompts
    expected_loss, expected = loss_and_gradients(stock, stock.model, inputs)
    loss, gradients = loss_and_gradients(frugal, frugal.model, inputs)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-7)
    assert_same(gradients, expected)
    return stock, frugal


def assert_same(gradients, expected):
    size = torch.stack([g.norm() for g in expected.values()]).norm()
    apart = torch.stack([(gradients[n] - g).norm() for n, g in expected.items()]).norm()
    assert apart <= 1e-5 * size + 1e-12, f"gradients differ by {apart / size:.1e}"


@pytest.mark.parametrize("on_policy", [True, False], ids=["on-policy", "off-policy"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_stock_trls(tmp_path, loss, level, on_policy):
    inputs = batch(dead=(1,))
    if on_policy:
        del inputs["old_per_token_logps"]
    options = {"loss_type": loss, "importance_sampling_level": level}
    assert_as_stock(lambda: tiny("qwen3"), tmp_path, inputs, **options)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_kl_penalty_keeps_groups_without_advantage(tmp_path, loss):
    stock, frugal = assert_as_stock(demo, tmp_path, batch(dead=(0, 1)), loss_type=loss, beta=0.1)
    assert frugal._metrics["train"]["kl"] == pytest.approx(stock._metrics["train"]["kl"], rel=1e-5)


@pytest.mark.parametrize("kind", sorted(CHECKED))
def test_every_checked_architecture(tmp_path, kind):
    assert_as_stock(lambda: tiny(kind), tmp_path, batch(truncated=(2, 9)), loss_type="dapo")


def test_the_demo_with_an_adapter_and_checkpointed_activations(tmp_path):
    assert_as_stock(demo, tmp_path, batch(vocabulary=1024), gradient_checkpointing=True)


def corrected_by_trl(trainer, model, inputs, mode):
    """What TRL's trainer hands to its loss when its own vLLM has sampled: another forward pass, and ratios from it."""
    inputs = dict(inputs)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    with torch.no_grad():
        before = trainer._get_per_token_logps_and_entropies(model, ids, mask, 16)[0]
    apart = (before - inputs["sampling_per_token_logps"]) * inputs["completion_mask"]
    apart = apart.sum(-1, keepdim=True) if mode.startswith("sequence") else apart
    ratio = apart.exp()
    ratio = ratio.clamp(max=3.0) if mode.endswith("truncate") else ratio.masked_fill(ratio > 3.0, 0.0)
    return inputs | {"old_per_token_logps": before, "importance_sampling_ratio": ratio}


@pytest.mark.parametrize("mode", ["sequence_mask", "sequence_truncate", "token_mask", "token_truncate"])
@pytest.mark.parametrize("loss", LOSSES)
def test_rollouts_of_another_program_are_weighted_as_by_trl(tmp_path, loss, mode):
    if loss == "vespo" and mode.startswith("sequence"):
        pytest.skip("TRL and tools-grpo refuse it")
    from trl import GRPOTrainer

    options = {"loss_type": loss, "vllm_importance_sampling_mode": mode}
    stock, frugal = (trainer_of(cls, tiny("qwen3"), tmp_path, **options) for cls in (GRPOTrainer, SharedPrefixTrainer))
    inputs = batch(dead=(1,))
    del inputs["old_per_token_logps"]
    expected = corrected_by_trl(stock, stock.model, inputs | {"sampling_per_token_logps": torch.zeros(12, 16)}, mode)
    draw = torch.Generator().manual_seed(2)  # apart by enough that some weights are above the limit
    inputs["sampling_per_token_logps"] = expected["old_per_token_logps"] + 0.8 * torch.randn(12, 16, generator=draw)
    expected, stock.use_vllm = corrected_by_trl(stock, stock.model, inputs, mode), True
    expected_loss, gradients = loss_and_gradients(stock, stock.model, expected)
    loss_found, found = loss_and_gradients(frugal, frugal.model, inputs)
    torch.testing.assert_close(loss_found, expected_loss, rtol=1e-5, atol=1e-7)
    assert_same(found, gradients)
    live = torch.arange(12) // 4 != 1
    ratios, mask = expected["importance_sampling_ratio"][live], inputs["completion_mask"][live].bool()
    seen = ratios if mode.startswith("sequence") else ratios[mask]
    assert frugal._metrics["train"]["sampling/importance_sampling_ratio/mean"] == pytest.approx(
        [seen.mean().item()], rel=1e-5
    )
    assert ((seen == 0) | (seen == 3)).any()


def test_a_batch_without_any_advantage_moves_nothing(tmp_path):
    model = tiny("qwen3")
    frugal = trainer_of(SharedPrefixTrainer, model, tmp_path)
    loss, gradients = loss_and_gradients(frugal, model, batch(dead=(0, 1, 2)))
    assert loss == 0
    assert all((gradient == 0).all() for gradient in gradients.values())


def test_the_pack_holds_each_prompt_once_and_no_padding():
    inputs = batch()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    tree = plant(rows_of(ids, mask, 16), ids.device)
    assert tree.tokens.shape[1] == (5 - 1) + (9 - 1) + (1 - 1) + int(inputs["completion_mask"].sum())
    assert torch.equal(tree.labels[0], inputs["completion_ids"][tree.rows, tree.columns])
    some = rows_of(ids, mask, 16, torch.arange(12) < 4)
    assert [row.index for row in some] == [0, 1, 2, 3]


def test_a_mask_over_the_budget_is_cut_into_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("tools_shared.training.packing.MASK_ELEMENTS", 1)
    _, frugal = assert_as_stock(lambda: tiny("llama"), tmp_path, batch())
    assert frugal.shares_prompts


def test_models_for_which_it_is_not_exact_go_the_stock_way(tmp_path, capsys):
    windowed = tiny("mistral", sliding_window=8)
    assert "do not attend to all tokens" in why_not(windowed.config)
    stretched = tiny("qwen2", rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4})
    assert "dynamic position embedding" in why_not(stretched.config)
    other = tiny("gpt_neox")
    frugal = trainer_of(SharedPrefixTrainer, other, tmp_path)
    assert not frugal.shares_prompts
    assert "as TRL does it: the architecture gpt_neox has not been checked" in capsys.readouterr().err
    loss, _ = loss_and_gradients(frugal, other, batch())
    assert loss.isfinite()


def test_rounding_is_no_advantage():
    noisy = torch.tensor([7e-5, 7e-5, 7e-5, 7e-5, 1.0, -1.0, 0.5, -0.5])
    assert without_noise(noisy, 4).tolist() == [0, 0, 0, 0, 1.0, -1.0, 0.5, -0.5]
