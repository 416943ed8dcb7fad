import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools_dedup.output.shaping import shaped
from tools_shared.errors import UnusableError
from tools_shared.records import Row
from tools_shared.sources import conversation_from

ASKED, SAID = "Which prime divides 91 and 39?", "Both are 13 times something, so \\boxed{13}"
USER, ASSISTANT = {"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}
SHAPED = {
    "messages": {"messages": [USER, ASSISTANT]},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": SAID}]},
    "trl": {"prompt": [USER], "completion": [ASSISTANT]},
    "prompt-response": {"prompt": ASKED, "response": SAID},
    "question-answer": {"question": ASKED, "answer": SAID},
    "open-r1": {"problem": ASKED, "solution": SAID},
    "alpaca": {"instruction": ASKED, "input": "", "output": SAID},
    "verl": {"prompt": [USER], "reward_model": {"style": "rule", "ground_truth": SAID}},
    "truth": {"prompt": ASKED, "ground_truth": SAID},
}
OTHER = {"id": "keep-me-17", "level": 3, "tags": ["a", "b"], "meta": {"source": None}}


@pytest.mark.parametrize("row", SHAPED.values(), ids=SHAPED)
def test_every_shape_keeps_its_other_fields(row):
    row = OTHER | row
    left = {key: row[key] for key in ("reward_model",) if key in row}
    assert shaped(row, "messages") == {"messages": [USER, ASSISTANT], **OTHER, **left}
    assert shaped(row, "prompt-response") == {"prompt": ASKED, "response": SAID, **OTHER, **left}
    assert shaped(row, "same") is row


@pytest.mark.parametrize(
    ("row", "truth", "verifier", "left"),
    [
        ({"question": ASKED, "answer": "13"}, "13", "math", {}),
        ({"question": ASKED, "answer": "Try 13.\n#### 13"}, "13", "gsm8k", {"answer": "Try 13.\n#### 13"}),
        ({"problem": ASKED, "solution": SAID}, "13", "math", {"solution": SAID}),
        ({"problem": ASKED, "answer": 13, "solution": SAID}, "13", "math", {"solution": SAID}),
        ({"prompt": [USER], "reward_model": {"ground_truth": "13"}}, "13", "math", {"reward_model": None}),
        ({"messages": [USER], "ground_truth": "13", "dataset": "strict_math"}, "13", "strict_math", {}),
        ({"messages": [USER, ASSISTANT], "ground_truth": ["13", "thirteen"]}, ["13", "thirteen"], "math", {}),
        ({"conversations": SHAPED["sharegpt"]["conversations"], "answer": "13"}, "13", "math", {}),
        ({"instruction": ASKED, "input": "", "output": SAID, "answer": "13"}, "13", "math", {"output": SAID}),
    ],
)
def test_rows_for_verifiable_rewards(row, truth, verifier, left):
    made = shaped(OTHER | row, "rlvr")
    left = {key: row[key] if value is None else value for key, value in left.items()}
    assert made == {"messages": [USER], "ground_truth": truth, "dataset": verifier, **OTHER, **left}
    json.dumps(made)


@pytest.mark.parametrize("steps", [["Cut the rope.", "Tie it. "], '["Cut the rope.", "Tie it."]'])
def test_procedures_are_judged_against_their_steps(steps):
    row = OTHER | {"goal": "Tie a bowline", "steps": steps, "resources": ["rope"]}
    said = "1. Cut the rope.\n2. Tie it."
    asked = {"role": "user", "content": "Tie a bowline"}
    rest = {**OTHER, "steps": steps, "resources": ["rope"]}
    assert shaped(row, "rlvr") == {
        "messages": [asked], "ground_truth": said, "dataset": "general-quality_ref", **rest,
    }  # fmt: skip
    assert shaped(row | {"ground_truth": "A knot", "dataset": "mine"}, "rlvr") == {
        "messages": [asked], "ground_truth": "A knot", "dataset": "mine", **rest,
    }  # fmt: skip
    del rest["steps"]
    assert shaped(row, "messages") == {"messages": [asked, {"role": "assistant", "content": said}], **rest}


def test_system_and_earlier_turns_stay_before_the_question():
    before = [{"role": "system", "content": "Be brief."}, USER, ASSISTANT, {"role": "user", "content": "And of 65?"}]
    row = {"messages": [*before, {"role": "assistant", "content": "13 too."}], "answer": "13"}
    assert shaped(row, "rlvr") == {"messages": before, "ground_truth": "13", "dataset": "math"}


@pytest.mark.parametrize(
    ("row", "output_format", "reason"),
    [
        ({"text": ASKED}, "messages", "no question and answer"),
        ({"text": ASKED}, "rlvr", "no question"),
        ({"messages": [USER, ASSISTANT]}, "rlvr", "has no answer for --output-format rlvr"),
        ({"question": ASKED, "answer": "A long essay.\n" * 40}, "rlvr", "too long for a final answer"),
        ({"messages": [ASSISTANT], "answer": "13"}, "rlvr", "asks nothing"),
        ({"goal": "Tie a bowline", "steps": []}, "rlvr", '"steps" is not a list of steps'),
        ({"goal": "Tie a bowline", "steps": ["Cut it.", 3]}, "messages", '"steps" is not a list of steps'),
        ({"question": ASKED, "answer": SAID, "response": "other"}, "prompt-response", 'a field "response" besides'),
    ],
)
def test_what_has_not_the_shape_says_so(row, output_format, reason):
    with pytest.raises(UnusableError, match=reason) as error:
        shaped(row, output_format)
    assert "--answer-key" not in str(error.value)


SAID_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)
PAIRS = st.lists(st.tuples(SAID_TEXT, SAID_TEXT), min_size=1, max_size=3)


@given(PAIRS, st.none() | SAID_TEXT, st.sampled_from(["messages", "prompt-response"]))
def test_a_conversation_is_the_same_in_every_shape_and_shaping_it_again_changes_nothing(pairs, system, output_format):
    turns = [{"role": "system", "content": system}] if system else []
    turns += [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    roles = {"system": "system", "user": "human", "assistant": "gpt"}
    shapes = [
        {"messages": turns},
        {"conversations": [{"from": roles[turn["role"]], "value": turn["content"]} for turn in turns]},
        {"prompt": turns[:-1], "completion": turns[-1:]},
        {"prompt": turns[:-1], "response": turns[-1]["content"]},
    ]
    for row in shapes:
        made = shaped(OTHER | row, output_format)
        back = conversation_from(Row(json.loads(json.dumps(made)), None))
        assert [{"role": turn.role, "content": turn.content} for turn in back.messages] == turns
        assert {"id": back.id, **back.extra} == OTHER
        assert shaped(made, output_format) == made
