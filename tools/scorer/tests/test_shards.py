import json

import pytest
import torch

from tools_scorer.states.folder import open_hidden
from tools_shared.errors import ToolError
from tools_shared.states.shards import Rows, StatesManifest, TraceInfo, shard_path, write_manifest, write_shard


def manifest(**changes) -> StatesManifest:
    return StatesManifest(
        **{"model": "m", "reader_sha256": "0", "layers": (2,), "hidden_size": 4, "n_input": 4} | changes
    )


def traces(n: int, first: int = 0) -> list[TraceInfo]:
    return [
        TraceInfo(f"t{first + i}", f"q{i}", i % 2 == 0, "train", f"q{i}", prompt_len=3, n_tokens=20) for i in range(n)
    ]


def rows(*lengths: int) -> Rows:
    generator = torch.Generator().manual_seed(0)
    return Rows.join(
        [(range(5, 5 + n), torch.randn(n, 1, 4, generator=generator).half()) for n in lengths],
        torch.randn(len(lengths), 1, 4, generator=generator).half(),
    )


def filled(folder):
    write_manifest(folder, manifest())
    write_shard(folder, 0, 2, traces(2), rows(3, 0))
    write_shard(folder, 2, 4, traces(2, 2), rows(1, 2))
    return folder


def test_what_is_written_is_read_back_in_order(tmp_path):
    hidden = open_hidden(filled(tmp_path))
    assert (hidden.n_traces, hidden.n_rows, hidden.missing()) == (4, 6, [])
    found = list(hidden)
    assert [trace.trace_id for trace, _, _ in found] == ["t0", "t1", "t2", "t3"]
    assert [positions.tolist() for _, positions, _ in found] == [[5, 6, 7], [], [5], [5, 6]]
    assert torch.equal(torch.cat([s for _, _, s in found[:2]]), rows(3, 0).states)
    for shard in hidden.shards:
        shard.verify()


def test_the_folder_above_is_opened_too_unless_there_are_several(tmp_path):
    filled(tmp_path / "prefix")
    assert open_hidden(tmp_path).path == tmp_path / "prefix"
    filled(tmp_path / "second")
    with pytest.raises(ToolError, match="has 2 folders of hidden states"):
        open_hidden(tmp_path)


def test_same_rows_give_the_same_bytes(tmp_path):
    first, second = filled(tmp_path / "a"), filled(tmp_path / "b")
    assert shard_path(first, 0, 2).read_bytes() == shard_path(second, 0, 2).read_bytes()


def test_missing_ranges_are_told(tmp_path):
    write_manifest(tmp_path, manifest(n_input=9))
    write_shard(tmp_path, 2, 4, traces(2), rows(1, 1))
    assert open_hidden(tmp_path).missing() == [(0, 2), (4, 9)]


def test_torn_shard_is_named(tmp_path):
    path = shard_path(filled(tmp_path), 2, 4)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ToolError, match=r"shard-000002-000004.safetensors: corrupt"):
        open_hidden(tmp_path)


def test_changed_byte_is_found_by_verify(tmp_path):
    path = shard_path(filled(tmp_path), 2, 4)
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ToolError, match="corrupt"):
        open_hidden(tmp_path).shards[1].verify()


def test_foreign_traces_file_is_named(tmp_path):
    path = shard_path(filled(tmp_path), 0, 2).with_suffix(".jsonl")
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(ToolError, match=r"shard-000000-000002.jsonl: corrupt"):
        open_hidden(tmp_path).shards[0].traces()


def test_another_configuration_is_refused_naming_what_differs(tmp_path):
    filled(tmp_path)
    with pytest.raises(ToolError, match=r"layers \[2\] and \[1\]"):
        write_manifest(tmp_path, manifest(layers=(1,)))


def test_dimensions_that_contradict_the_manifest_name_both(tmp_path):
    filled(tmp_path)
    data = json.loads((tmp_path / "manifest.json").read_text()) | {"hidden_size": 8}
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(ToolError, match="made with another configuration"):
        open_hidden(tmp_path)
    with pytest.raises(ToolError, match=r"do not fit 1 traces and the manifest's .*\(1, 8\)"):
        write_shard(tmp_path, 4, 5, traces(1), rows(1))


def test_prompt_states_come_back(tmp_path):
    shard = open_hidden(filled(tmp_path)).shards[0]
    assert torch.equal(shard.prompt_states(), rows(3, 0).prompt_states)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_states_that_are_not_finite_name_their_trace(tmp_path, value):
    write_manifest(tmp_path, manifest())
    bad = rows(2, 2)
    bad.states[3, 0, 1] = value
    with pytest.raises(ToolError, match="trace t1: a hidden state at token 6 is not finite.*bf16"):
        write_shard(tmp_path, 0, 2, traces(2), bad)


def test_overlapping_shards_are_named(tmp_path):
    write_shard(filled(tmp_path), 1, 3, traces(2), rows(1, 1))
    with pytest.raises(ToolError, match="covers traces that"):
        open_hidden(tmp_path)


def test_folder_without_shards_says_what_to_run(tmp_path):
    write_manifest(tmp_path, manifest())
    with pytest.raises(ToolError, match="has no finished shard"):
        open_hidden(tmp_path)
    with pytest.raises(ToolError, match="no hidden states here"):
        open_hidden(tmp_path / "nothing")
