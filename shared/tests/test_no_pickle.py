"""A pickle with a payload, in every place where a model, an adapter or a checkpoint is taken: it never runs."""

import contextlib
import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tools_shared.demo import model_path
from tools_shared.errors import ToolError
from tools_shared.models import load, resolve, weights_sha256
from tools_shared.models.formats import check_checkpoint


class Payload:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def mark(tmp_path):
    path = tmp_path / "owned"
    yield path
    assert not path.exists()


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(model_path(), tmp_path / "model")


@pytest.mark.parametrize("harmless", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.bin", "pytorch_model-00001-of-00001.bin"])
def test_a_model_of_pickles_is_refused_before_it_is_read(model, mark, name, harmless):
    weights = model / "model.safetensors"
    torch.save(load_file(weights) if harmless else Payload(mark), model / name)
    weights.unlink()
    for read in (lambda: load(resolve(str(model))), lambda: weights_sha256(str(model))):
        with pytest.raises(ToolError, match=rf"{name}.*save_pretrained") as caught:
            read()
        assert "weights_only" not in str(caught.value)


def test_an_adapter_of_pickles_is_refused_before_its_base_is_read(model, mark, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(model), "r": 2, "target_modules": ["q_proj"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    torch.save(Payload(mark), adapter / "adapter_model.bin")
    (model / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ToolError, match=r"adapter_model\.safetensors.*save_pretrained"):
        load(resolve(str(adapter)))


BROKEN = {
    "config.json": ["{", "[]", "{}", '{"model_type": "nosuch"}', '{"model_type": 5}', "\xff"],
    "tokenizer.json": ["{", "[]", "{}", '{"model": {"type": "BPE"}}'],
    "tokenizer_config.json": ["{", "[]", '{"chat_template": 5}'],
    "model.safetensors": ["", "x" * 20, "\xff" * 40, '\x10\0\0\0\0\0\0\0{"a": {"dtype":'],
}


@pytest.mark.parametrize(("name", "content"), [(n, c) for n, contents in BROKEN.items() for c in contents])
def test_a_broken_file_of_a_model_is_one_line(model, name, content):
    (model / name).write_bytes(content.encode("latin-1"))
    certain = pytest.raises(ToolError) if name == "model.safetensors" or content in ("{", "\xff") else None
    with certain or contextlib.suppress(ToolError):
        load(resolve(str(model)), device="cpu")


def test_the_index_of_a_sharded_checkpoint_runs_nothing(tmp_path, mark):
    import pickle

    from torch.distributed.checkpoint.metadata import Metadata, TensorProperties, TensorStorageMetadata

    folder = tmp_path / "checkpoint-1" / "pytorch_model_fsdp_0"
    folder.mkdir(parents=True)
    index = Metadata({"w": TensorStorageMetadata(TensorProperties(torch.float32), torch.Size([2, 3]), [])})
    (folder / ".metadata").write_bytes(pickle.dumps(index))
    check_checkpoint(folder.parent)
    (folder / ".metadata").write_bytes(pickle.dumps({"w": Payload(mark)}))
    with pytest.raises(ToolError, match="can run code"):
        check_checkpoint(folder.parent)
    (folder / ".metadata").write_bytes(b"\x80\x04garbage")
    with pytest.raises(ToolError, match="can run code"):
        check_checkpoint(folder.parent)
