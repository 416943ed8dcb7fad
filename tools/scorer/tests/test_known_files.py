import os

import pytest
import torch
from click.testing import CliRunner

from tools_scorer.cli import main
from tools_scorer.states.known_files import open_states
from tools_shared.errors import ToolError


class Payload:
    def __reduce__(self):
        return os.system, ("exit 1",)


def entry(states=None, **changed):
    states = torch.randn(3, 8) if states is None else states
    keys = {"full_input_ids": torch.arange(4), "full_forward_text": "a", "original_response": "b"}
    return {"select_hidden_states": states, "question": "1+1?", "is_correct": True, **keys, **changed}


WRONG = {
    "widths": [entry(), entry(torch.randn(3, 5))],
    "layers": [entry(), entry(torch.randn(2, 3, 8))],
    "empty list": [],
    "no list": {"a": 1},
    "no dictionaries": [entry(), 5],
    "no tensor": [entry(), entry([1.0, 2.0])],
    "whole numbers": [entry(torch.ones(3, 8, dtype=torch.int64))],
    "no steps": [entry(torch.randn(0, 8))],
    "one number": [entry(torch.tensor(1.0))],
    "key missing": [{"question": "x"}],
    "label": [entry(is_correct="yes")],
    "label 2": [entry(is_correct=2)],
    "no question": [entry(), entry(question=None)],
    "empty question": [entry(question=" ")],
    "NaN": [entry(), entry(torch.tensor([[1.0, float("nan")] * 4]))],
    "infinity in fp16": [entry(torch.tensor([[1.0, float("inf")] * 4], dtype=torch.float16))],
    "payload": [entry(question=Payload())],
}


@pytest.mark.parametrize("entries", WRONG.values(), ids=WRONG)
def test_a_folder_that_cannot_be_used_is_one_line_and_leaves_nothing_in_the_way(entries, tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    torch.save(entries, folder / "a.pt")
    with pytest.raises(ToolError, match=r"a\.pt"):
        open_states(folder, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["known"]
    torch.save([entry(), entry()], folder / "a.pt")
    assert open_states(folder, tmp_path / "run").n_traces == 2
    assert open_states(folder, tmp_path / "run").n_traces == 2


@pytest.mark.parametrize(
    "wrong", [entry(torch.randn(3, 5)), entry(torch.full((2, 8), float("nan"))), entry(is_correct=7)]
)
def test_the_last_entry_of_the_last_file_is_looked_at_before_anything_is_made(wrong, tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    for name in "abc":
        torch.save([entry(), entry()], folder / f"{name}.pt")
    torch.save([entry(), entry(), entry(), wrong], folder / "d.pt")
    words = ["train", "--train_dir", str(folder), "--output-dir", str(tmp_path / "runs" / "first")]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, "d.pt: entry 3" in result.output) == (1, True), result.output
    assert len(result.output.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["known"]


def test_shards_of_other_files_are_not_taken_for_those_of_these(tmp_path):
    folder = tmp_path / "known"
    folder.mkdir()
    torch.save([entry()], folder / "a.pt")
    assert open_states(folder, tmp_path / "run").n_traces == 1
    torch.save([entry(), entry()], folder / "a.pt")
    with pytest.raises(ToolError, match="run-hidden: was not made from the .pt files .* --output-dir"):
        open_states(folder, tmp_path / "run")
    assert open_states(folder, tmp_path / "other").n_traces == 2


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04.", b"PK\x03\x04broken"])
def test_a_file_that_is_none_is_one_line(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ToolError, match=r"a\.pt"):
        open_states(tmp_path, tmp_path / "run")
