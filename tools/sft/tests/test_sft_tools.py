"""Conversations with tools: what the model calls is learned as its template writes it, or the row is rejected."""

import dataclasses
import json

import pytest
from zoo import ZOO, tokenizer_of

from tools_sft.config import SftConfig
from tools_sft.data.encoding import encode
from tools_shared.errors import ToolError
from tools_shared.prompts import load_profile
from tools_shared.sources import read_conversations, read_examples
from tools_shared.training.preview import marked

TOOLS = [
    {
        "type": "function",
        "function": {"name": "convert", "description": "Convert units.", "parameters": {"type": "object"}},
    }
]
WRITES_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\nTools: ' + (tools | tojson) + '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] }}"
    "{% for call in m.get('tool_calls', []) %}{{ '<call>' + call['function']['name'] + ' ' }}"
    "{{ call['function']['arguments'] | tojson }}{{ '</call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CALL = {"name": "convert", "arguments": '{"value": 3, "to": "km"}'}
TALK = [
    {"role": "user", "content": "How many kilometres are 3 nautical miles?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": CALL}]},
    {"role": "tool", "name": "convert", "tool_call_id": "c1", "content": '{"km": 5.556}'},
    {"role": "assistant", "content": "They are 5.556 km."},
]
SHAREGPT = [
    {"from": "human", "value": TALK[0]["content"]},
    {"from": "function_call", "value": json.dumps({"name": "convert", "arguments": {"value": 3, "to": "km"}})},
    {"from": "observation", "value": TALK[2]["content"]},
    {"from": "gpt", "value": TALK[3]["content"]},
]
PLAIN = {"messages": [{"role": "user", "content": "Boiling point?"}, {"role": "assistant", "content": "100 C"}]}


def encoded(tmp_path, rows, template=WRITES_TOOLS, name="qwen2", **options):
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    kind = ZOO[name] if template is None else dataclasses.replace(ZOO[name], template=template)
    tokenizer = tokenizer_of(kind)
    read = read_examples(str(path))
    found = encode(tokenizer, load_profile("boxed"), read.items, SftConfig(data=(str(path),), **options))
    return [marked(tokenizer, example) for example in found.examples], found.rejected, read


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TALK, "tools": TOOLS},
        {"messages": TALK, "tools": json.dumps(TOOLS)},
        {"conversations": SHAREGPT, "tools": json.dumps(TOOLS)},
    ],
    ids=["messages", "tools as text", "sharegpt"],
)
def test_calls_and_what_tools_say_are_kept(tmp_path, row):
    (both,), rejected, read = encoded(tmp_path, [row], loss_on="assistant")
    assert (rejected, read.rejected) == ([], [])
    assert '"name": "convert"' in both.split("How many")[0]
    assert '<|im_start|>assistant\n⟦<call>convert {"value": 3, "to": "km"}</call><|im_end|>⟧' in both
    assert '</call><|im_end|>⟧\n<|im_start|>tool\n{"km": 5.556}<|im_end|>' in both
    assert both.endswith("assistant\n⟦They are 5.556 km.<|im_end|>⟧")
    (last,), _, _ = encoded(tmp_path, [row])
    assert last.count("⟦") == 1
    assert last.replace("⟦", "").replace("⟧", "") == both.replace("⟦", "").replace("⟧", "")


def test_a_conversation_may_end_with_a_call_and_say_something_before_it(tmp_path):
    said = {**TALK[1], "content": "Let me convert."}
    (text,), _, _ = encoded(tmp_path, [{"messages": [TALK[0], said], "tools": TOOLS}])
    assert text.endswith('⟦Let me convert.<call>convert {"value": 3, "to": "km"}</call><|im_end|>⟧')


@pytest.mark.parametrize(
    ("name", "template", "reason"),
    [
        ("qwen2", None, "leaves out tools or what they say"),  # knows the roles and no calls
        ("gemma2", None, "turns alternate"),
        ("phi3 first", None, "leaves out tools or what they say"),  # writes user and assistant alone
        ("gpt2", None, "has no chat template, and so no form for tools"),
    ],
)
def test_a_template_that_does_not_write_tools_rejects_the_row_and_not_the_run(tmp_path, name, template, reason):
    texts, rejected, _ = encoded(tmp_path, [{"messages": TALK, "tools": TOOLS}, PLAIN], template, name)
    assert len(texts) == 1
    assert [row.origin.line for row in rejected] == [1]
    assert reason in rejected[0].reason


def test_a_last_call_that_the_template_leaves_out_is_rejected(tmp_path):
    texts, rejected, _ = encoded(tmp_path, [{"messages": TALK[:2]}, PLAIN], None)
    assert len(texts) == 1
    assert "leaves out the call of convert" in rejected[0].reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"tool_calls": [{"function": {"arguments": {}}}]}, "calls a tool without a name"),
        ({"tool_calls": [{"function": {"name": "convert", "arguments": "3 km"}}]}, "arguments that are not an object"),
    ],
)
def test_a_call_that_cannot_be_read_is_a_rejected_row(tmp_path, message, reason):
    row = {"messages": [TALK[0], {"role": "assistant", "content": "", **message}]}
    _, _, read = encoded(tmp_path, [row, PLAIN])
    assert [one.origin.line for one in read.rejected] == [1]
    assert reason in read.rejected[0].reason


def test_what_reads_conversations_alone_still_refuses_tools(tmp_path):
    path = tmp_path / "talks.jsonl"
    path.write_text(json.dumps({"messages": TALK}) + "\n")
    with pytest.raises(ToolError, match="calls a tool; only text is read"):
        read_conversations(str(path))
