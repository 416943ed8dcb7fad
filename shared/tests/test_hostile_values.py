import pytest

from tools_shared.errors import ToolError
from tools_shared.rewards.load import FileReward
from tools_shared.runs.card import card


@pytest.mark.parametrize(
    "returned",
    ["['a', 'b']", "'ab'", "None", "5", "{1: 2, 3: 4}", "[[1], [2]]", "[1]", "[object(), 1]", "[1j, 2]"],
)
def test_a_reward_that_returns_no_numbers_is_one_line(returned, tmp_path):
    (tmp_path / "own.py").write_text(f"def score(prompts, completions, **columns):\n    return {returned}\n")
    reward = FileReward.load(tmp_path / "own.py", "score", 1.0)
    with pytest.raises(ToolError, match=r"own\.py:score returned"):
        reward(["a", "b"], ["a", "b"])


def test_numbers_of_numpy_and_torch_are_numbers(tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy, torch\ndef score(prompts, completions, **columns):\n"
        "    return (v for v in (numpy.float32(0.5), torch.tensor(2), True, None, 3))\n"
    )
    assert FileReward.load(tmp_path / "own.py", "score", 1.0)([], [""] * 5) == [0.5, 2.0, 1.0, None, 3.0]


def test_a_card_shows_values_as_they_are_and_not_as_markdown():
    manifest = {
        "kind": "eval", "tool": "t", "tool_version": "0", "finished": "-", "metrics": {"a|b": "<script>x</script>"},
        "inputs": [{"name": "data", "path": "a|b`c`\n| x | y |", "sha256": "0" * 64}], "argv": ["t", "```", "\x1b[31m"],
        "options": {"name": {"value": "<img src=x>|**b**", "from": "flag"}},
    }  # fmt: skip
    text = card("run", manifest)
    assert "<script" not in text
    assert "<img" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in rows if "data" in line} == {4}
    assert {line.count("|") for line in rows if "name" in line or "script" in line} == {3}
    assert "````" in text
