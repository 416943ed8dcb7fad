import os

import pytest
import torch

from tools_scorer.known_files import open_states
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


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04.", b"PK\x03\x04broken"])
def test_a_file_that_is_none_is_one_line(content, tmp_path):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ToolError, match=r"a\.pt"):
        open_states(tmp_path, tmp_path / "run")
