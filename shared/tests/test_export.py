"""Every export computes what its run does, or is refused with nothing left behind."""

import json
import re
import shutil

import jinja2
import pytest
import torch
from exports import METRICS, PROFILE, base_model, finished_run, sentence_pieces
from safetensors.torch import load_file
from trained import logits
from transformers import AutoModelForCausalLM, AutoTokenizer
from zoo import ZOO, save_model, tokenizer_of

from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.export.gguf_vocabulary import vocabulary
from tools_shared.export.options import ExportConfig
from tools_shared.export.run import export
from tools_shared.models import load, resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts.ends import stop_ids
from tools_shared.prompts.render import render_prompt
from tools_shared.records import Message
from tools_shared.runs import read_manifest
from tools_shared.training.save import save_merged

gguf = pytest.importorskip("gguf", reason="gguf is not installed (extra: gguf)")

FAMILIES = ["llama3", "llama3 base", "qwen2", "qwen3", "thinking", "gemma2", "gemma3"]
DIALOGUES = [
    [Message("system", "Be brief."), Message("user", "What is 6 * 7?")],
    [Message("system", "Be brief."), Message("user", "2+2?"), Message("assistant", "4"), Message("user", "{{ 3+3 }}?")],
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))


def made(run, to, **options):
    config = ExportConfig(run=str(run), to=to, device="cpu", **options)
    return export(config, Invocation("tools-sft", "0.2.0"))


def of_run(run):
    return load(resolve(str(run)), dtype="fp32", device="cpu")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number_format", ["f16", "bf16", "q8_0"])
def test_a_gguf_file_computes_what_its_run_does(family, number_format, tmp_path):
    run = finished_run(base_model(family, tmp_path / "base"), tmp_path / "run")
    found = made(run, "gguf", gguf_format=number_format)
    assert found.path == tmp_path / "run_gguf"
    assert found.metrics["number_format"] == number_format.upper()
    assert found.metrics["logprob_difference"] > 0
    assert found.parents() == [read_manifest(run).sha256]
    if family not in ("llama3", "llama3 base", "qwen2", "thinking"):
        return  # transformers reads no sizes of heads for the others: those that are published have its defaults
    read = load(resolve(str(found.path / "model.gguf")), dtype="fp32", device="cpu")
    there, here = logits(of_run(run).model).log_softmax(-1), logits(read.model).log_softmax(-1)
    assert (there - here).abs().max() < {"f16": 0.02, "bf16": 0.2, "q8_0": 1}[number_format] * there.std()
    assert read.ref.profile == PROFILE
    assert read.tokenizer.chat_template == of_run(run).tokenizer.chat_template


@pytest.mark.parametrize("family", ["qwen2", "llama3"])
def test_added_tokens_are_found_whole_in_a_file_too(family, tmp_path):
    base = base_model(family, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<thinking>", "</thinking>", "  indent"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|tool|>"]})
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer) + 5)
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    run = finished_run(base, tmp_path / "run")
    read = load(resolve(str(made(run, "gguf").path / "model.gguf")), dtype="fp32", device="cpu").tokenizer
    ids = tokenizer(text := "<thinking>2 + 3 = 5</thinking><|tool|>\n  indent").input_ids
    assert read(text).input_ids == ids
    assert read.decode(ids, skip_special_tokens=True) == tokenizer.decode(ids, skip_special_tokens=True)


def test_llama_31_slows_its_rotations_in_the_file_too(tmp_path):
    scaled = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
    scaled |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    base = base_model("llama3", tmp_path / "base", rope_parameters=scaled)
    made(finished_run(base, tmp_path / "run"), "gguf")
    reader = gguf.GGUFReader(tmp_path / "run_gguf" / "model.gguf")
    (factors,) = [tensor.data for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    assert factors.min() == 1
    assert factors.max() == pytest.approx(8)


def test_what_is_stored_in_bfloat16_is_written_so_and_without_a_loss(tmp_path):
    base = base_model("qwen2", tmp_path / "base", torch.bfloat16)
    run = finished_run(base, tmp_path / "run")
    assert made(run, "gguf").metrics["number_format"] == "BF16"
    merged = made(run, "merged")
    read = load(resolve(str(tmp_path / "run_gguf" / "model.gguf")), dtype="fp32", device="cpu")
    torch.testing.assert_close(logits(read.model), logits(of_run(merged.path).model))


@pytest.mark.parametrize("family", sorted(set(ZOO) - {*FAMILIES, "qwen2 base"}))
def test_other_architectures_are_one_line_and_leave_nothing(family, tmp_path):
    run = save_model(family, tmp_path / "run")
    with pytest.raises(ToolError, match="not written as GGUF here, only llama, qwen2, qwen3, gemma2, gemma3_text"):
        made(run, "gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("llama3", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}, "scaled by 'yarn'"),
        ("qwen2", {"layer_types": ["sliding_attention", "full_attention"]}, "layers with a sliding window"),
        ("qwen3", {"hidden_act": "gelu"}, "the activation gelu"),
        ("gemma2", {"query_pre_attn_scalar": 5}, "query_pre_attn_scalar 5 with head_dim 8"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_named(family, changes, words, tmp_path):
    base = save_model(family, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ToolError, match=words):
        made(base, "gguf")
    assert not (tmp_path / "base_gguf").exists()
    assert not (tmp_path / "base_gguf.partial").exists()


def test_a_file_with_another_weight_is_refused(tmp_path):
    from tools_shared.export.gguf_file import check, probes

    run = finished_run(base_model("llama3", tmp_path / "base"), tmp_path / "run")
    path = made(run, "gguf").path / "model.gguf"
    reader = gguf.GGUFReader(path, "r+")
    tensor = next(one for one in reader.tensors if one.name == "blk.1.attn_k.weight")
    tensor.data[:] = tensor.data[::-1].copy()
    reader.data.flush()
    loaded = of_run(made(run, "merged").path)
    with pytest.raises(ToolError, match=r"layers\.1\.self_attn\.k_proj\.weight reads back otherwise"):
        check(
            path, loaded.model, loaded.tokenizer, gguf.GGMLQuantizationType.F16, probes(loaded.model, loaded.tokenizer)
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_is_what_training_merges(dtype, tmp_path):
    base = base_model("qwen3", tmp_path / "base", dtype)
    run = finished_run(base, tmp_path / "run")
    found = made(run, "merged")
    save_merged(load(resolve(str(run)), dtype="fp32", device="cpu"), tmp_path / "then", PROFILE)
    there, here = load_file(tmp_path / "then/model.safetensors"), load_file(found.path / "model/model.safetensors")
    assert there.keys() == here.keys()
    assert all(torch.equal(there[name], here[name]) and here[name].dtype == dtype for name in there)
    assert resolve(str(found.path)).profile == PROFILE
    assert resolve(str(found.path)).adapter is None


def test_whole_weights_are_copied_as_they_are(tmp_path):
    base = base_model("gemma3", tmp_path / "base", torch.bfloat16)
    found = made(base, "merged")
    assert (found.path / "model/model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def in_jinja(template: str) -> str:
    """A Modelfile's template, of the few words of Go's language that ours have, for Jinja."""
    words = {
        "{{ range .Messages }}": "{% for m in messages %}",
        '{{ if eq .Role "system" }}': "{% if m.role == 'system' %}",
        '{{ else if eq .Role "user" }}': "{% elif m.role == 'user' %}",
        "{{ else }}": "{% else %}",
        "{{ end }}{{ end }}": "{% endif %}{% endfor %}",
        "{{ .Content }}": "{{ m.content }}",
        '{{ "{{" }}': "{{ '{{' }}",
    }
    for ours, theirs in words.items():
        template = template.replace(ours, theirs)
    return template


@pytest.mark.parametrize("family", [name for name in FAMILIES if ZOO[name].template])
def test_a_modelfile_writes_the_prompts_of_the_run(family, tmp_path):
    run = finished_run(base_model(family, tmp_path / "base"), tmp_path / "run")
    folder = made(run, "ollama").path
    text = (folder / "Modelfile").read_text()
    assert text.startswith("FROM ./model.gguf\n")
    assert f'SYSTEM """{PROFILE.system}"""' in text
    ref = resolve(str(run))
    tokenizer = load_tokenizer(ref)
    ends = stop_ids(tokenizer, load(ref, device="cpu").model.generation_config.eos_token_id)
    assert set(re.findall(r'^PARAMETER stop """(.*)"""$', text, re.M)) == set(
        tokenizer.convert_ids_to_tokens(list(ends))
    )
    (template,) = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.M | re.S)
    environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)
    for messages in DIALOGUES:
        written = environment.from_string(in_jinja(template)).render(messages=messages)
        assert written == render_prompt(tokenizer, PROFILE, messages).text


def test_a_template_that_looks_at_the_whole_dialogue_is_refused(tmp_path):
    base = base_model("qwen2", tmp_path / "base")
    path = base / "chat_template.jinja"
    path.write_text("{{ messages | length }}" + path.read_text())
    run = finished_run(base, tmp_path / "run")
    with pytest.raises(ToolError, match="in a way that Ollama's templates cannot"):
        made(run, "ollama")
    assert not (tmp_path / "run_ollama.partial").exists()


def test_a_card_tells_the_runs_figures_and_no_folder_of_this_machine(tmp_path):
    run = finished_run(base_model("qwen2", tmp_path / "base"), tmp_path / "run")
    folder = made(run, "hub", name="my-reasoner").path / "model"
    card = (folder / "README.md").read_text()
    assert "| accuracy | 37.5 % [22.9, 54.7], n=32 |" in card
    assert "| train | rows.jsonl | 37 | `1111111111111111` |" in card
    assert PROFILE.system in card
    assert "was not compared with a test set" in card
    assert str(tmp_path) not in card
    assert "\nbase_model:" not in card
    assert resolve(str(folder)).adapter is None  # whole weights: nobody else has this base
    assert METRICS["steps"] == 12
    assert "| steps | 12 |" in card


def test_an_upload_that_cannot_be_is_one_line_and_the_folder_stays(tmp_path, monkeypatch):
    run = finished_run(base_model("qwen2", tmp_path / "base"), tmp_path / "run")
    with pytest.raises(ToolError, match="--push me/it: not uploaded"):
        made(run, "hub", push="me/it")
    assert (tmp_path / "run_hub/model/README.md").exists()


@pytest.mark.parametrize("to", ["merged", "gguf", "ollama", "hub"])
def test_what_is_there_is_replaced_only_when_it_is_ours_and_asked_for(to, tmp_path):
    run = finished_run(base_model("qwen2", tmp_path / "base"), tmp_path / "run")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    for over in (False, True):
        with pytest.raises(ToolError, match="out"):
            made(run, to, output_dir=str(folder), overwrite=over)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    shutil.rmtree(folder)
    first = made(run, to, output_dir=str(folder))
    assert made(run, to, output_dir=str(folder)).sha256 == first.sha256
    made(run, to, output_dir=str(folder), overwrite=True)
    (folder / "README.md").write_text("changed")
    with pytest.raises(ToolError, match="not as this run wrote it"):
        made(run, to, output_dir=str(folder), overwrite=True)


def test_options_that_do_nothing_are_refused():
    with pytest.raises(ToolError, match="--push uploads the folder of --to hub; --to is gguf"):
        ExportConfig(run="x", to="gguf", push="a/b")
    with pytest.raises(ToolError, match="--gguf-format is about"):
        ExportConfig(run="x", to="merged", gguf_format="f16")


@pytest.mark.parametrize("space_first", [False, True])
def test_sentence_pieces_are_written_with_scores_in_the_order_of_their_merges(space_first):
    tokenizer = sentence_pieces(space_first)
    found = vocabulary(tokenizer, len(tokenizer) + 3)
    assert (found.kind, found.space_first, found.merges) == ("llama", space_first, [])
    assert found.tokens[-3:] == [f"[PAD{len(tokenizer) + i}]" for i in range(3)]
    kinds = dict(zip(found.tokens, found.types, strict=True))
    told = {name: kinds[name] for name in ("<unk>", "<bos>", "<0x0A>", "<end_of_turn>", "the", found.tokens[-1])}
    assert told == {"<unk>": 2, "<bos>": 3, "<0x0A>": 6, "<end_of_turn>": 3, "the": 1, found.tokens[-1]: 5}
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    scores = dict(zip(found.tokens, found.scores, strict=True))
    made = ["".join(pair) for pair in merges]
    assert [scores[name] for name in made] == sorted((scores[name] for name in made), reverse=True)


def test_a_tokenizer_that_splits_by_unknown_rules_is_refused():
    from tokenizers import Regex, pre_tokenizers

    tokenizer = tokenizer_of(ZOO["qwen2"])
    assert vocabulary(tokenizer, len(tokenizer)).split == "gpt-2"
    pairs = pre_tokenizers.Split(Regex("[0-9]{2}"), "isolated")
    own = tokenizer.backend_tokenizer.pre_tokenizer
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pairs, own])
    with pytest.raises(ToolError, match=r"splits text by rules that llama\.cpp has no name for here"):
        vocabulary(tokenizer, len(tokenizer))
