"""Whole weights are saved in the base's number format, and are those that were evaluated."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tools_shared.models import load, resolve
from tools_shared.runs import read_manifest


@pytest.fixture(scope="module")
def bf16_base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "bf16"
    loaded = load(resolve("demo"), device="cpu")
    loaded.model.to(torch.bfloat16).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def test_a_full_fine_tune_keeps_the_format_of_its_base_and_is_evaluated_as_it_is_saved(trainer, bf16_base, tmp_path):
    args = ["--base-model", bf16_base, "--full-finetune", "--train-samples", "8", "--max-steps", "2"]
    rest = ["--learning-rate", "1e-3", "--eval-samples", "2", "--eval-max-new-tokens", "8", "--validation-split", "0.5"]
    done = trainer("sft").run(*args, *rest, "--output-dir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    model = tmp_path / "run" / "model"
    assert {part.dtype for part in load_file(model / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((model / "config.json").read_text())["dtype"] == "bfloat16"
    assert read_manifest(tmp_path / "run").metrics["weights_changed"] is True


def test_rounding_leaves_buffers_and_tied_weights_as_they_are(bf16_base, tmp_path):
    from tools_shared.prompts import load_profile
    from tools_shared.training.save import base_format, round_to, save

    loaded = load(resolve(str(bf16_base)), device="cpu")
    with torch.no_grad():
        for part in loaded.model.parameters():
            part.add_(0.001)
    buffers = {name: part.clone() for name, part in loaded.model.named_buffers()}
    tied = loaded.model.get_input_embeddings().weight is loaded.model.get_output_embeddings().weight
    round_to(loaded.model, base_format(loaded.ref))
    ids = torch.arange(20)[None]
    before = loaded.model(ids).logits
    save(loaded, tmp_path / "model", tmp_path / "model", load_profile("gsm8k-tags"), True)
    assert all(torch.equal(part, buffers[name]) for name, part in loaded.model.named_buffers())
    assert (loaded.model.get_input_embeddings().weight is loaded.model.get_output_embeddings().weight) == tied
    assert torch.equal(loaded.model(ids).logits, before)
    torch.testing.assert_close(load(resolve(str(tmp_path / "model")), device="cpu").model(ids).logits, before)
