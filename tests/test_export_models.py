"""Exports of real models by the command line: the demo by both trainers' verb, and SmolLM2 (135M, a real tokenizer)."""

import importlib
import json

import pytest
from click.testing import CliRunner

from tools_shared.demo import model_path
from tools_shared.models.load import load_tokenizer
from tools_shared.models.resolve import resolve
from tools_shared.prompts import PROFILES, question_messages
from tools_shared.prompts.render import render_prompt

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra: gguf)")
pytestmark = pytest.mark.slow


def exported(tool, model, to, folder, *words):
    main = importlib.import_module(f"tools_{tool}.cli").main
    done = CliRunner().invoke(main, ["export", str(model), "--to", to, "--output-dir", str(folder), "--json", *words])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.parametrize(("tool", "to"), [("sft", "gguf"), ("grpo", "ollama")])
def test_the_demo_by_both_tools(tool, to, tmp_path):
    told, said = exported(tool, "demo", to, tmp_path / "out", "--name", "tiny")
    assert told["metrics"]["architecture"] == "qwen3"
    assert told["metrics"]["number_format"] == "F16"
    assert told["metrics"]["logprob_difference"] < 0.1
    assert "to serve it: " + ("llama-server -m" if to == "gguf" else "ollama create tiny -f") in said
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    assert reader.get_field("tokenizer.ggml.pre").contents() == "smollm"  # digits one by one
    template = (model_path() / "chat_template.jinja").read_text()
    assert reader.get_field("tokenizer.chat_template").contents() == template


def test_smollm2_in_eight_bits_with_its_merges_and_ends(smollm2, tmp_path):
    told, _ = exported("grpo", smollm2, "ollama", tmp_path / "out", "--gguf-format", "q8_0")
    assert told["metrics"]["ends"] == ["<|im_end|>"]
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    kinds = {tensor.tensor_type.name for tensor in reader.tensors if len(tensor.shape) > 1}
    assert kinds == {"Q8_0"}
    assert len(reader.get_field("tokenizer.ggml.merges").contents()) > 48_000
    modelfile = (tmp_path / "out" / "Modelfile").read_text()
    profile = PROFILES["gsm8k-tags"]
    prompt = render_prompt(load_tokenizer(resolve(str(smollm2))), profile, question_messages(profile, "What is 3 * 4?"))
    start, _, rest = prompt.text.partition(profile.system)
    assert f'TEMPLATE """{{{{ range .Messages }}}}{{{{ if eq .Role "system" }}}}{start}{{{{ .Content }}}}' in modelfile
    assert rest.partition("What is 3 * 4?")[2] in modelfile
