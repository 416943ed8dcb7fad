import importlib.util
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tools_scorer.cli import main
from tools_scorer.config.states import ExtractConfig, PreprocessConfig
from tools_scorer.extract import extract, shard_ranges
from tools_scorer.preprocess import preprocess
from tools_scorer.states.folder import open_hidden
from tools_scorer.states.pt_files import read_pt
from tools_shared.cli import Invocation
from tools_shared.errors import ToolError
from tools_shared.models import load, resolve
from tools_shared.states.reader import batches

FILE = "traces.jsonl"
STEPS = ("Start with two.", "Then add the other one to it, which gives more.", "So it is", "Check: yes.")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A preprocess run of 23 traces of different lengths."""
    folder = tmp_path_factory.mktemp("data")
    rows = [
        {
            "question": f"What is {i // 3} + 3?",
            "response": f"<start_working_out>{chr(10).join(STEPS[: 1 + i % 4] * (1 + i % 3))} {i}<end_working_out>",
            "ground_truth": str(i // 3 + 3),
            "extracted_answer": str(i // 3 + 3 + i % 2),
        }
        for i in range(23)
    ]
    (folder / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = PreprocessConfig(data=str(folder / FILE), output_dir=str(folder / "run"), delimiter="\\n")
    preprocess(config, Invocation("tools-scorer", "0.1.0"))
    return folder / "run" / FILE


def run(data: Path, folder: Path, **options):
    defaults = {"compute_dtype": "fp32", "dtype": "fp32", "shard_size": 10, "max_batch_tokens": 600}
    return extract(ExtractConfig(data=str(data), output_dir=str(folder), **(defaults | options)))


def reference(data: Path) -> list[torch.Tensor]:
    """Every hidden state [n_layers + 1, n_tokens, hidden] of each trace, one float32 sequence a forward."""
    model = load(resolve("demo"), "fp32", "cpu").model.base_model
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    with torch.inference_mode():
        ids = [torch.tensor([row["token_ids"]]) for row in rows]
        outputs = [model(i, attention_mask=torch.ones_like(i), output_hidden_states=True).hidden_states for i in ids]
    return [torch.cat(states) for states in outputs]


def test_batched_states_are_those_of_one_sequence_at_a_time(data, tmp_path):
    hidden, rows = run(data, tmp_path / "h"), [json.loads(line) for line in data.read_text().splitlines()]
    whole = reference(data)
    prompts = torch.cat([shard.prompt_states() for shard in hidden.shards])
    assert hidden.n_traces == 23
    for (trace, positions, states), row, all_states, prompt in zip(hidden, rows, whole, prompts, strict=True):
        assert trace.trace_id == row["trace_id"]
        assert positions.tolist() == row["extracted_position"]
        torch.testing.assert_close(states[:, 0], all_states[-1, positions.long()], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(prompt[0], all_states[-1, trace.prompt_len - 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("layers", "kept"), [("2", [2]), ("0,3", [0, 3]), ("-1,1", [1, 5]), ("-2", [4])])
def test_early_exit_gives_the_states_of_the_whole_model(data, tmp_path, layers, kept):
    hidden, whole = run(data, tmp_path / "h", layers=layers), reference(data)
    assert list(hidden.manifest.layers) == kept
    assert hidden.manifest.norm == ("post" if 5 in kept else "pre")
    for (_, positions, states), all_states in zip(hidden, whole, strict=True):
        wanted = all_states[kept][:, positions.long()].transpose(0, 1)
        torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-4)


def test_states_before_the_norm_become_those_after_it(data, tmp_path):
    before, after = run(data, tmp_path / "pre", norm="pre"), run(data, tmp_path / "post")
    norm = load(resolve("demo"), "fp32", "cpu").model.base_model.norm
    with torch.inference_mode():
        torch.testing.assert_close(norm(before.shards[0].states().clone()), after.shards[0].states())


def test_bf16_is_near_fp32(data, tmp_path):
    exact, quick = run(data, tmp_path / "a"), run(data, tmp_path / "b", compute_dtype="bf16", dtype="bf16")
    a, b = exact.shards[0].states().flatten(1), quick.shards[0].states().float().flatten(1)
    assert torch.cosine_similarity(a, b).min() > 0.999


def test_killed_and_resumed_shards_have_the_same_bytes(data, tmp_path):
    run(data, tmp_path / "whole")
    run(data, tmp_path / "cut", end_idx=10)
    kept = tmp_path / "cut" / "shard-000000-000010.safetensors"
    written = kept.stat().st_mtime_ns
    (tmp_path / "cut" / "shard-000010-000020.jsonl").write_text("{}\n")  # a kill between a shard's two files
    run(data, tmp_path / "cut")
    files = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "cut").iterdir())
    assert all((tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes() for name in files)
    assert kept.stat().st_mtime_ns == written


def test_parts_made_apart_are_the_whole(data, tmp_path):
    run(data, tmp_path / "whole")
    for part in ("1/2", "0/2"):
        run(data, tmp_path / "parts", shard=part)
    assert open_hidden(tmp_path / "parts").missing() == []
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes()


def test_a_shard_that_would_overlap_another_is_refused_and_not_made(data, tmp_path):
    run(data, tmp_path / "h", end_idx=15)
    with pytest.raises(ToolError, match="shard-000010-000015.safetensors: contains a part of traces 10 to 20"):
        run(data, tmp_path / "h")
    assert open_hidden(tmp_path / "h").n_traces == 15
    run(data, tmp_path / "h", start_idx=20)
    assert open_hidden(tmp_path / "h").missing() == [(15, 20)]


def test_another_configuration_is_refused_before_anything_is_loaded(data, tmp_path):
    run(data, tmp_path / "h", end_idx=10)
    with pytest.raises(ToolError, match=r"another configuration \(layers \[5\] and \[2\]; norm 'post' and 'pre'\)"):
        run(data, tmp_path / "h", layers="2")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_an_engine_that_is_not_installed_is_named_and_binds_nobody(data, tmp_path):
    with pytest.raises(ToolError, match="--engine vllm needs vLLM"):
        run(data, tmp_path / "h", engine="vllm", end_idx=3)
    assert run(data, tmp_path / "h", end_idx=3).n_traces == 3


def test_corrupt_shard_is_named_and_not_skipped(data, tmp_path):
    run(data, tmp_path / "h", end_idx=10)
    path = tmp_path / "h" / "shard-000000-000010.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ToolError, match="shard-000000-000010.safetensors: corrupt"):
        run(data, tmp_path / "h")
    assert run(data, tmp_path / "h", overwrite=True).n_traces == 23


def altered(data: Path, folder: Path, **changes) -> Path:
    """The run with its second trace changed."""
    shutil.copytree(data.parent, folder)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    rows[1] |= changes
    (folder / FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / FILE


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"token_ids": [1] * 5000, "extracted_position": [4999]}, "has 5000 tokens to read.*context is 4096"),
        ({"token_ids": [10**6] * 900, "extracted_position": [899]}, "token 1000000 is beyond the model's vocabulary"),
        ({"extracted_position": [10**9]}, "extracted_position must rise"),
        ({"extracted_position": []}, "extracted_position must rise"),
    ],
)
def test_a_trace_that_cannot_be_read_is_found_before_anything_is_written(data, tmp_path, signed, change, why):
    changed = altered(data, tmp_path / "run", **change)
    with pytest.raises(ToolError, match="is not as the run in"):
        run(changed, tmp_path / "h")
    signed(changed.parent)
    with pytest.raises(ToolError, match=rf"{FILE}:2: .*{why}"):
        run(changed, tmp_path / "h")
    assert not (tmp_path / "h").exists()


def test_options_that_do_not_fit_are_named(data, tmp_path):
    for options, why in (
        ({"layers": "9"}, "--layers 9: the model has hidden states 0 to 5"),
        ({"layers": "two"}, "got 'two'"),
        ({"start_idx": 23}, "--start-idx 23: .* has 23 traces"),
        ({"start_idx": 5, "end_idx": 5}, "--end-idx 5 must be above"),
        ({"shard": "2/2"}, "--shard is i/n"),
        ({"export": "pt", "layers": "1,2"}, "stores one layer"),
    ):
        with pytest.raises(ToolError, match=why):
            run(data, tmp_path / "h", **options)


def test_another_tokenizer_is_refused_naming_both(data, tmp_path):
    shutil.copytree(data.parent, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    entry = next(i for i in manifest["inputs"] if i["name"] == "tokenizer")
    entry |= {"sha256": "0" * 64, "path": "other"}
    (tmp_path / "run" / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(ToolError, match="made with the tokenizer of 'other', and demo has another"):
        run(tmp_path / "run" / FILE, tmp_path / "h")


def test_a_file_that_is_not_a_preprocess_run_is_refused(tmp_path):
    (tmp_path / FILE).write_text("{}\n")
    with pytest.raises(ToolError, match="no run.json beside it"):
        run(tmp_path / FILE, tmp_path / "h")
    with pytest.raises(ToolError, match="no such file"):
        run(tmp_path / "none.jsonl", tmp_path / "h")


def test_exported_pt_is_that_of_the_known_pipeline(data, tmp_path):
    hidden = run(data, tmp_path / "h", dtype="fp16", export="pt", start_idx=5, end_idx=15)
    entries = read_pt(tmp_path / "h_hiddenstates_5_15.pt")
    rows = [json.loads(line) for line in data.read_text().splitlines()][5:15]
    for entry, row, (_, _, states) in zip(entries, rows, hidden, strict=True):
        assert torch.equal(entry["select_hidden_states"], states[:, 0])
        assert entry["full_input_ids"].tolist() == row["token_ids"]
        assert entry["full_forward_text"] == row["prompt"] + row["forward_text"]
        assert (entry["question"], entry["is_correct"]) == (row["question"], row["is_correct"])
        assert entry["original_response"] == row["full_text"]


def test_an_exported_pt_is_named_as_it_was_asked_for(data, tmp_path):
    n = len(data.read_text().splitlines())
    for end, named in ((1000, 1000), (None, n), (n, n)):
        run(data, tmp_path / "h", export="pt", end_idx=end)
        assert len(read_pt(tmp_path / f"h_hiddenstates_0_{named}.pt")) == n


def test_an_exported_pt_takes_nobody_elses_place(data, tmp_path):
    own = tmp_path / "h_hiddenstates_0_5.pt"
    own.write_text("precious")
    with pytest.raises(ToolError, match="is there, and not as tools-scorer extract wrote it"):
        run(data, tmp_path / "h", export="pt", end_idx=5)
    assert own.read_text() == "precious"
    run(data, tmp_path / "h", export="pt", end_idx=5, overwrite=True)
    assert next(tmp_path.glob(f".{own.name}.*.replaced")).read_text() == "precious"
    assert read_pt(own)


class Payload:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_with_code_in_it_is_refused(tmp_path, capsys):
    torch.save([Payload()], tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps([Payload()]))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(ToolError, match=f"{name}: not a file of tensors"):
            read_pt(tmp_path / name)
    assert "code ran" not in capsys.readouterr().out


def test_output_path_needs_no_folder(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--input_path", str(data), "--output_path", "prefix", "--end_idx", "3", "--json"]
    result = CliRunner().invoke(main, ["extract", "--model_name", "demo", *flags])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_traces"] == 3
    assert open_hidden(tmp_path / "prefix").missing() == [(3, 23)]


def test_ranges_fit_together_wherever_they_begin():
    assert shard_ranges(0, 25, 10) == [(0, 10), (10, 20), (20, 25)]
    assert shard_ranges(5, 12, 10) == [(5, 10), (10, 12)]
    assert shard_ranges(3, 7, 10) == [(3, 7)]


def test_batches_keep_to_the_budget_and_leave_nothing_out():
    lengths = [7, 100, 3, 50, 49, 500, 2]
    made = batches(lengths, 120)
    assert sorted(i for batch in made for i in batch) == list(range(7))
    assert made[0] == [5]
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 120 for batch in made)


@pytest.mark.slow
def test_ray_writes_the_same_shards(data, tmp_path):
    pytest.importorskip("ray")
    run(data, tmp_path / "here")
    hidden = run(data, tmp_path / "ray", engine="ray", ray_workers=2)
    assert hidden.missing() == []
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes()
