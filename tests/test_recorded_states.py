"""States kept while transformers samples at a temperature, against those read again from the same tokens."""

import json

import pytest

from tools_shared.cli import Invocation
from tools_shared.errors import ToolError

PLAIN = 'name: demo-plain\nsystem: Solve the problem.\nanswer: [" The answer is ", "."]\n'
RECORDING = {"record_hidden": True, "hidden_delimiter": "sentence", "hidden_layers": "0,2,-1", "hidden_dtype": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "plain.yaml").write_text(PLAIN)
    rows = [
        {
            "question": f"A train has {n} cars with {n + 3} seats each. How many seats does it have?",
            "answer": n * (n + 3),
        }
        for n in (4, 7, 11)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def sampled(folder, name, **more):
    from tools_traces.config import TracesConfig
    from tools_traces.sample import sample

    sample(
        TracesConfig(
            data=(str(folder / "rows.jsonl"),), profile=str(folder / "plain.yaml"), output_dir=str(folder / name),
            emit="graded", token_ids=True, keep="all", temperature=1.0, max_attempts=6, max_new_tokens=40,
            batch_size=16, dtype="fp32", device="cpu", **more,
        ),
        Invocation("tools-traces", "0.1.0"),
    )  # fmt: skip
    return [json.loads(line) for line in (folder / name / "traces.graded.jsonl").open()]


def test_recorded_states_are_those_that_extract_reads(folder):
    import torch

    from tools_scorer.config.states import ExtractConfig, PreprocessConfig
    from tools_scorer.extract import extract
    from tools_scorer.preprocess import preprocess
    from tools_scorer.states.folder import open_hidden

    attempts = sampled(folder, "run", **RECORDING)
    plain = sampled(folder, "plain")
    assert [a["token_ids"] for a in attempts] == [a["token_ids"] for a in plain]
    assert len({a["finish_reason"] for a in attempts}) == 2, "whole completions and cut ones"
    preprocess(
        PreprocessConfig(
            data=str(folder / "run" / "traces.graded.jsonl"), output_dir=str(folder / "data"), delimiter="sentence",
            profile=str(folder / "plain.yaml"),
        ),
        Invocation("tools-scorer", "0.1.0"),
    )  # fmt: skip
    again = extract(
        ExtractConfig(
            data=str(folder / "data" / "traces.graded.jsonl"), compute_dtype="fp32", dtype="fp32", layers="0,2,-1"
        )
    )
    mine = open_hidden(folder / "run" / "traces-hidden")
    assert mine.n_traces == again.n_traces > 3
    facts = ("reader_sha256", "layers", "norm", "delimiter", "tokenizer")
    assert mine.manifest.differences(again.manifest, facts) == []
    for (trace, positions, states), (other, their_positions, theirs) in zip(mine, again, strict=True):
        assert trace == other
        assert positions.tolist() == their_positions.tolist()
        torch.testing.assert_close(states, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mine.shards[0].prompt_states(), again.shards[0].prompt_states(), rtol=1e-4, atol=1e-4)


def test_layers_with_a_window_are_refused_before_anything_is_sampled(tmp_path):
    from zoo import save_model

    from tools_shared.models import resolve
    from tools_traces.attempts.states import layers_of
    from tools_traces.config import TracesConfig

    ref = resolve(str(save_model("gemma3", tmp_path / "gemma3")))
    with pytest.raises(ToolError, match="window or a state of their own"):
        layers_of(TracesConfig(emit="graded", token_ids=True, **RECORDING), ref)
