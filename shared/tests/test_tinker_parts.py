"""The parts of the Tinker backend, without a service: names, keys, losses, and adapters that do not fit."""

import json
import math
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tools_shared.config.dotenv import secret
from tools_shared.engines.http.address import read_api_key
from tools_shared.errors import ToolError
from tools_shared.models import load, resolve
from tools_shared.models.adapters import CONFIG, WEIGHTS
from tools_shared.prompts import PROFILES
from tools_shared.training.backends import Loss, StepResult, TokenRow
from tools_shared.training.save import save
from tools_shared.training.steps import Batch, loss_of, off_policy
from tools_shared.training.tinker import adapter as adapters
from tools_shared.training.tinker.base import RECORD, remote_base
from tools_shared.training.tinker.names import hub_name
from tools_shared.training.trainable import LoraOptions, make_trainable


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("qwen3:8b", "Qwen/Qwen3-8B"),
        ("Qwen3:0.6B", "Qwen/Qwen3-0.6B"),
        ("qwen2.5:1.5b-instruct", "Qwen/Qwen2.5-1.5B-Instruct"),
        ("llama3.2:3b", "meta-llama/Llama-3.2-3B-Instruct"),
        ("gemma3:270m", "google/gemma-3-270m-it"),
        ("smollm2:135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("demo", "demo"),
        ("artifacts/prep_sft", "artifacts/prep_sft"),
    ],
)
def test_hub_name_of_what_users_write(tag, name):
    assert hub_name(tag) == name


@pytest.mark.parametrize("tag", ["qwen3:latest", "qwen3:8b-q4_K_M", "mistral-small:24b", "qwen3:"])
def test_tag_that_is_not_known_is_refused_in_one_line(tag):
    with pytest.raises(ToolError, match=f"'{tag}': it is not known which weights"):
        hub_name(tag)


def test_key_comes_from_the_environment_before_dotenv_and_stays_out_of_the_environment(tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUTOR_KEY", raising=False)
    assert secret("TUTOR_KEY") is None
    (tmp_path / ".env").write_text("# keys\nexport TUTOR_KEY='tml-of the file'\nOTHER=$TUTOR_KEY\n")
    assert secret("TUTOR_KEY") == "tml-of the file"
    assert read_api_key("TUTOR_KEY") == "tml-of the file"
    assert secret("OTHER") == "$TUTOR_KEY"
    assert "TUTOR_KEY" not in os.environ
    monkeypatch.setenv("TUTOR_KEY", "tml-of-the-shell")
    assert secret("TUTOR_KEY") == "tml-of-the-shell"
    (tmp_path / ".env").write_bytes(b"TUTOR_KEY=\xff\xfe\n")
    monkeypatch.delenv("TUTOR_KEY")
    with pytest.raises(ToolError, match="not UTF-8"):
        secret("TUTOR_KEY")


def test_loss_is_that_of_torch_on_the_same_log_probabilities():
    rng = torch.Generator().manual_seed(5)
    now = -torch.rand((2, 4), generator=rng) * 3
    weights = torch.tensor([[0.0, 0.25, 0.25, 0.0], [0.0, 0.0, 0.25, 0.25]])
    rows = [TokenRow(tuple(range(5)), tuple(w.tolist())) for w in weights]
    assert loss_of(Batch(rows, Loss()), now.tolist()) == pytest.approx(-(weights * now).sum().item())
    then = -torch.rand((2, 4), generator=rng) * 3
    advantages = torch.tensor([[0.0, 0.7, 0.7, 0.7], [0.0, 0.0, -1.1, -1.1]])
    rows = [
        TokenRow(tuple(range(5)), tuple(a.tolist()), tuple(t.tolist())) for a, t in zip(advantages, then, strict=True)
    ]
    ratio = (now - then).exp()
    clipped = torch.minimum(ratio * advantages, ratio.clamp(0.9, 1.3) * advantages)
    assert loss_of(Batch(rows, Loss("ppo", 0.9, 1.3)), now.tolist()) == pytest.approx(-clipped.sum().item(), rel=1e-5)
    free = loss_of(Batch(rows, Loss("importance_sampling")), now.tolist())
    assert free == pytest.approx(-(ratio * advantages).sum().item(), rel=1e-5)
    apart = off_policy(Batch(rows, Loss("ppo")), now.tolist())["sampling/logp_difference"]
    assert apart == pytest.approx((now - then).abs().mean().item(), rel=1e-5)
    assert math.isfinite(loss_of(Batch(rows, Loss("ppo")), (then + 2000).tolist()))
    assert StepResult(now.tolist()).metrics == {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An adapter on the demo as a service makes one: no layers and another machine's base in its configuration."""
    folder = tmp_path_factory.mktemp("made") / "adapter"
    torch.manual_seed(0)
    loaded = make_trainable(load(resolve("demo"), dtype="fp32", device="cpu"), LoraOptions(lora_r=4))
    for name, parameter in loaded.model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.05)
    save(loaded, folder, folder, PROFILES["think"], full_weights=False)
    config = json.loads((folder / CONFIG).read_text())
    config |= {"target_modules": None, "base_model_name_or_path": "/srv/models/demo-model", "task_type": None}
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def copied(made: Path, to: Path, change=lambda tensors: tensors) -> Path:
    to.mkdir()
    (to / CONFIG).write_bytes((made / CONFIG).read_bytes())
    save_file(change(load_file(made / WEIGHTS)), to / WEIGHTS)
    return to


def test_fetched_adapter_computes_what_it_did_on_the_service(made, tmp_path):
    from tools_shared.models.adapters import probe

    folder = copied(made, tmp_path / "fetched")
    ref = resolve("demo")
    figures = adapters.settle(folder, ref)
    assert figures["lora_r"] == 4
    assert figures["adapter_tensors"] == len(load_file(made / WEIGHTS))
    tokenizer = load(ref).tokenizer
    adapters.save_beside(folder, folder, ref, tokenizer, frozenset({tokenizer.eos_token_id}), PROFILES["think"])
    home = load(resolve(str(folder)), dtype="fp32", device="cpu")
    assert resolve(str(folder)).profile == PROFILES["think"]
    adapter = {n: p for n, p in home.model.named_parameters() if "lora_" in n}
    assert len(adapter) == figures["adapter_tensors"]
    base = load(ref, dtype="fp32", device="cpu")
    assert (probe(home.model, tokenizer) - probe(base.model, tokenizer)).abs().max() > 0.1
    assert adapters.learned(folder)


LAYER = "base_model.model.model.layers.1.mlp.up_proj"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: {k: v for k, v in t.items() if not k.startswith(LAYER)},
            "no tensors for model.layers.1.mlp.up_proj",
        ),
        (lambda t: {k: v for k, v in t.items() if k != f"{LAYER}.lora_B.weight"}, "it has no"),
        (lambda t: {**t, f"{LAYER}.lora_A.weight": torch.zeros(4, 3)}, "the base and rank 4 need"),
        (lambda t: {**t, f"{LAYER}.lora_B.weight": t[f"{LAYER}.lora_B.weight"] * math.nan}, "not finite"),
        (
            lambda t: {**t, "base_model.model.model.layers.99.mlp.up_proj.lora_A.weight": torch.zeros(4, 4)},
            "a layer that the base does not have",
        ),
        (lambda t: {**t, "base_model.model.model.norm.weight": torch.zeros(4)}, "has no place"),
        (lambda t: {"base_model.model.model.norm.weight": torch.zeros(4)}, "no LoRA tensors"),
    ],
)
def test_adapter_that_does_not_fit_wholly_is_refused(made, tmp_path, change, words):
    folder = copied(made, tmp_path / "fetched", change)
    with pytest.raises(ToolError, match="does not fit demo") as caught:
        adapters.settle(folder, resolve("demo"))
    assert words in str(caught.value)


def archive(files: dict[str, bytes], mode: str) -> BytesIO:
    whole = BytesIO()
    with tarfile.open(fileobj=whole, mode=mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, BytesIO(content))
    whole.seek(0)
    return whole


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_only_the_adapter_is_unpacked_wherever_it_lies(tmp_path, mode):
    files = {f"ckpt/{CONFIG}": b"{}", f"ckpt/{WEIGHTS}": b"w", "../evil.txt": b"x", "/tmp/evil": b"x", "a.py": b"x"}
    adapters._unpack(archive(files, mode), tmp_path, "tinker://r/w")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [CONFIG, WEIGHTS]
    assert not (tmp_path.parent / "evil.txt").exists()


def test_archive_without_an_adapter_is_one_line(tmp_path):
    with pytest.raises(ToolError, match=f"holds no {WEIGHTS}"):
        adapters._unpack(archive({CONFIG: b"{}"}, "w"), tmp_path, "tinker://r/w")
    with pytest.raises(ToolError, match="cannot be read"):
        adapters._unpack(BytesIO(b"no archive"), tmp_path, "tinker://r/w")


def test_adapter_trained_elsewhere_is_refused_as_a_base(made, tmp_path):
    adapters.settle(copied(made, tmp_path / "here"), resolve("demo"))
    with pytest.raises(ToolError, match="was not trained on a Tinker service"):
        remote_base(str(tmp_path / "here"))
    assert remote_base("qwen3:8b").server_name == "Qwen/Qwen3-8B"
    assert RECORD == "tinker.json"
