import json
import shutil

import pytest
import torch

from tools_shared.devices import pick_device
from tools_shared.errors import ToolError
from tools_shared.models import choose_profile, load, resolve
from tools_shared.prompts import PROFILES
from tools_shared.training.save import save, save_merged
from tools_shared.training.sharded import skeleton, whole
from tools_shared.training.trainable import LoraOptions, make_trainable, saves_full_weights

TAGS = PROFILES["gsm8k-tags"]


def disturbed(loaded, seed=1):
    """The model with its adapter moved away from where it adds nothing, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return loaded


def trained(spec, options=None, seed=1):
    torch.manual_seed(0)
    return disturbed(
        make_trainable(load(resolve(spec), device="cpu", with_adapter=False), options or LoraOptions()), seed
    )


def saved(folder, loaded, options=None):
    options = options or LoraOptions()
    save(loaded, folder, folder, TAGS, saves_full_weights(loaded, options.adapter, options.full_finetune))
    return folder


def logits(model):
    with torch.inference_mode():
        return model.eval()(input_ids=torch.arange(40, 80)[None]).logits


@pytest.fixture
def adapter(tmp_path):
    return saved(tmp_path / "adapter", trained("demo"))


@pytest.fixture
def full_model(tmp_path):
    options = LoraOptions(full_finetune=True)
    return saved(tmp_path / "full", trained("demo", options), options)


def test_an_adapter_is_saved_and_loaded_with_profile_and_base(adapter):
    ref = resolve(str(adapter))
    assert ref.profile == TAGS
    assert ref.weights_name == "demo"
    again = load(ref, device="cpu")
    torch.testing.assert_close(logits(again.model), logits(trained("demo").model))


def test_full_weights_are_saved_and_loaded(full_model):
    again = load(resolve(str(full_model)), device="cpu")
    assert not torch.allclose(logits(again.model), logits(load(resolve("demo"), device="cpu").model))
    torch.testing.assert_close(logits(again.model), logits(trained("demo", LoraOptions(full_finetune=True)).model))


def test_the_same_adapter_goes_on(adapter):
    loaded = make_trainable(load(resolve(str(adapter)), device="cpu", with_adapter=False), LoraOptions())
    before = logits(trained("demo").model)
    torch.testing.assert_close(logits(loaded.model), before)
    assert not torch.allclose(logits(disturbed(loaded, seed=2).model), before)


def test_a_merged_adapter_leaves_full_weights_that_start_where_it_ended(adapter, tmp_path):
    options = LoraOptions(adapter="merge")
    loaded = make_trainable(load(resolve(str(adapter)), device="cpu", with_adapter=False), options)
    torch.testing.assert_close(logits(loaded.model), logits(trained("demo").model), atol=1e-4, rtol=1e-4)
    folder = saved(tmp_path / "merged", disturbed(loaded, seed=3), options)
    assert resolve(str(folder)).adapter is None


def test_a_new_adapter_leaves_the_old_one_out(adapter):
    options = LoraOptions(adapter="new")
    loaded = make_trainable(load(resolve(str(adapter)), device="cpu", with_adapter=False), options)
    torch.testing.assert_close(logits(loaded.model), logits(load(resolve("demo"), device="cpu").model))


def test_merging_is_verified(tmp_path):
    assert save_merged(trained("demo"), tmp_path / "merged", TAGS) < 1e-3
    again = load(resolve(str(tmp_path / "merged")), device="cpu")
    torch.testing.assert_close(logits(again.model), logits(trained("demo").model), atol=1e-4, rtol=1e-4)


def test_merging_what_has_not_learned_is_said(tmp_path, capsys):
    fresh = make_trainable(load(resolve("demo"), device="cpu", with_adapter=False), LoraOptions())
    assert save_merged(fresh, tmp_path / "merged", TAGS) < 1e-3
    assert "the adapter adds nothing" in capsys.readouterr().err


def test_artifacts_can_be_moved_together(full_model, tmp_path):
    adapter = saved(tmp_path / "on_full", trained(str(full_model)))
    before = logits(load(resolve(str(adapter)), device="cpu").model)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(str(full_model), moved / full_model.name)
    shutil.move(str(adapter), moved / adapter.name)
    torch.testing.assert_close(logits(load(resolve(str(moved / adapter.name)), device="cpu").model), before)


def test_an_adapter_on_other_weights_is_refused(full_model, tmp_path):
    adapter = saved(tmp_path / "on_full", trained(str(full_model)))
    saved(full_model, trained("demo", LoraOptions(full_finetune=True), seed=9), LoraOptions(full_finetune=True))
    with pytest.raises(ToolError, match="trained on other weights than"):
        load(resolve(str(adapter)), device="cpu")


def test_an_adapter_of_another_shape_is_refused(adapter):
    notes = json.loads((adapter / "tools.json").read_text())
    (adapter / "tools.json").write_text(json.dumps({**notes, "base": None}))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "r": 4}))
    with pytest.raises(ToolError, match="this adapter is for another base model"):
        load(resolve(str(adapter)), device="cpu")


def test_profile_is_adopted_and_not_contradicted(adapter):
    ref = resolve(str(adapter))
    assert choose_profile(ref, None) == TAGS
    assert choose_profile(ref, "gsm8k-tags") == TAGS
    with pytest.raises(ToolError, match="trained with the prompt profile 'gsm8k-tags', not 'think'"):
        choose_profile(ref, "think")
    assert choose_profile(resolve("demo"), "think").name == "think"


def test_a_hub_id_is_recognised_without_touching_the_network():
    assert resolve("Qwen/Qwen3-0.6B").weights == "Qwen/Qwen3-0.6B"
    assert resolve("gpt2").weights == "gpt2"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("/nowhere/model", "no such model folder"),
        ("./model", "no such model folder"),
        ("qwen3:8b", "an Ollama tag names no weights here"),
    ],
)
def test_wrong_names_are_one_sentence(spec, message):
    with pytest.raises(ToolError, match=message):
        resolve(spec)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ToolError, match="not a model folder"):
        resolve(str(tmp_path))


def test_a_missing_sibling_is_not_taken_for_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    with pytest.raises(ToolError, match="artifacts/prep_sft: no such model folder"):
        resolve("artifacts/prep_sft")


def test_a_hub_model_without_network_is_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ToolError, match="not found on the hub, or no network"):
        load(resolve("nobody/no-such-model"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence():
    with pytest.raises(ToolError, match="torch sees no GPU here"):
        pick_device("cuda")


def test_an_unknown_lora_target_is_named():
    with pytest.raises(ToolError, match="--lora-target no_such_layer"):
        make_trainable(load(resolve("demo"), device="cpu"), LoraOptions(lora_target=("no_such_layer",)))


def test_a_skeleton_is_filled_with_the_weights_of_now():
    loaded = trained("demo")
    loaded.skeleton = skeleton(loaded.model)
    disturbed(loaded, seed=2)
    filled = whole(loaded, "cpu").model
    assert torch.equal(logits(filled), logits(loaded.model))
    assert filled.get_input_embeddings().weight is filled.get_output_embeddings().weight
    assert all(parameter.is_meta for parameter in whole(loaded, "cpu", keep=False).model.parameters())
    assert whole(trained("demo")).skeleton is None
