"""From rows to problems and conversations: the shapes that are known, and the sentence for each that is not."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools_shared.errors import ToolError, UnusableError
from tools_shared.records import Message, Origin, Row, text_id
from tools_shared.sources import (
    as_list,
    conversation_from,
    detect_shape,
    lookup,
    problem_from,
    procedure_text,
    read_conversations,
    read_examples,
    read_problems,
    source_sha256,
    split_gsm8k,
)

DATA = Path(__file__).parents[3] / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data sets are not in {DATA}")


def row(**data):
    return Row(data, Origin("a.jsonl", 1))


def jsonl(folder, *rows):
    path = folder / "a.jsonl"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    return path


def test_lookup_goes_along_dots_and_into_lists():
    data = {"a": {"b": [{"c": 1}, {"c": 2}]}, "a.b": "exact", "x.y": {"z": 3}, "n": None}
    assert lookup(data, "a.b") == "exact"
    assert lookup(data, "a.b.1.c") == 2
    assert lookup(data, "x.y.z") == 3
    assert lookup(data, "n") is None
    for missing in ("q", "a.q", "a.b.2.c", "a.b.-1", "n.x", "a.", ".a", ""):
        with pytest.raises(KeyError):
            lookup(data, missing)


@settings(deadline=None)
@given(st.text(alphabet="ab.", max_size=40))
def test_lookup_finds_what_walking_finds_or_raises_keyerror(key):
    value = {"a": {"a": {"b": 1}, "b": {"a": 1}}, "b": {"a": {"a": 2}}}
    data = value
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        with pytest.raises(KeyError):
            lookup(data, key)
    else:
        assert lookup(data, key) == value


def test_as_list():
    assert as_list(["a"]) == ["a"]
    assert as_list(' ["a", 1] ') == ["a", 1]
    assert as_list("['it''s', \"b\"]") == ["it", "s", "b"]
    assert as_list("['Fold it' \"don't cut\"\n 'Pull']") == ["Fold it", "don't cut", "Pull"]
    assert as_list("[1 -2 3.5]") == [1, -2, 3.5]
    assert as_list("[['a' 'b'] ['c']]") == [["a", "b"], ["c"]]
    assert as_list("[None, True, {'k': 'v'}]") == [None, True, {"k": "v"}]
    for no_list in ("a", "[a]", "[1", '{"a": [1]}', 5, None, "[" * 10_000, "[1] + [2]"):
        assert as_list(no_list) is None
    for no_list in ("[__import__('os')]", "['a' ... 'b']", "[b'x']", "[f'{1}']"):
        assert as_list(no_list) is None


GSM8K = {
    "48/2 = <<48/2=24>>24 clips.\n48+24 = <<48+24=72>>72.\n#### 72": ("48/2 = 24 clips.\n48+24 = 72.", "72"),
    "reasoning\n\n#### 1,000": ("reasoning", "1,000"),
    "#### 5": ("", "5"),
    "a\r\n####5\r\n": ("a", "5"),
    "first\n#### 1\nthen\n#### 2": ("first\n#### 1\nthen", "2"),
    "a\n#### ": ("a", ""),
    "72": None,
    "a #### 5": None,
    "a\n##### title": None,
    "": None,
}


@pytest.mark.parametrize("text", GSM8K)
def test_gsm8ks_answers(text):
    assert split_gsm8k(text) == GSM8K[text]


@pytest.mark.parametrize("piece", ["<<", "<", ">", "<<1", "\n####", "#", "<<a\n"])
def test_splitting_is_linear(piece):
    started = time.perf_counter()
    split_gsm8k(piece * 200_000 + "\n#### 1")
    assert time.perf_counter() - started < 10  # seconds; what is quadratic would take hours


def test_a_problem_keeps_its_place_its_id_and_its_other_fields():
    problem = problem_from(row(id=7, question="Q?", answer="r\n#### 1,000", topic_tags=["t"], grade=6))
    assert (problem.id, problem.question, problem.answer, problem.reasoning) == ("7", "Q?", "1,000", "r")
    assert problem.extra == {"topic_tags": ["t"], "grade": 6}
    assert str(problem.origin) == "a.jsonl:1"
    assert problem_from(row(question="Q?", answer="#### 1")).id == text_id("Q?")
    assert problem_from(row(id=True, question="Q?", answer="#### 1")).id == text_id("Q?")


def test_an_answer_without_mark_is_believed_when_something_says_so():
    with_reasoning = problem_from(row(question="Q?", answer=" 72 ", solution="because"))
    assert (with_reasoning.answer, with_reasoning.reasoning, with_reasoning.extra) == ("72", "because", {})
    named = problem_from(row(p={"q": "Q?"}, gold=7.5, other=1), "p.q", "gold")
    assert (named.question, named.answer, named.reasoning, named.extra) == ("Q?", "7.5", "", {"other": 1})
    assert problem_from(row(question="Q?", out="r\n#### 3"), answer_key="out").answer == "3"


SYSTEM = [{"role": "system", "content": "Be kind."}]
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

UNUSABLE = [
    (
        row(question="Q?", answer="a\nb"),
        '"answer" has no "#### N" line and is too long for a final answer; pass --answer-',
    ),
    (row(question="Q?", answer="so " * 70), "too long for a final answer"),
    (row(question="Q?", answer=True), '"answer" is not text but bool'),
    (row(question="Q?", answer=None), '"answer" is not text but NoneType'),
    (row(question="Q?", answer="r\n####  "), 'nothing after "####"'),
    (row(question="Q?", answer="r\n#### 5\nbye"), 'more text below its "#### N" line'),
    (row(question=" ", answer="#### 5"), '"question" is empty'),
    (row(question=["Q?"], answer="#### 5"), '"question.0" is not an object with "role" and "content"'),
    (row(question={"text": "Q?"}, answer="#### 5"), '"question" is not text but dict'),
    (row(Frage="Q?", answer="#### 5"), 'no key "question" ('),
    (row(prompt=[*TURNS, TURNS[0]], solution="5"), '"prompt" has 3 turns; a problem is one question'),
    (row(question="Q?"), 'no key "answer" (there is question); pass --answer-key'),
    (row(), 'no key "question" (there is none)'),
]


@pytest.mark.parametrize(("given_row", "reason"), UNUSABLE)
def test_a_row_that_is_no_problem_says_why(given_row, reason):
    with pytest.raises(UnusableError) as error:
        problem_from(given_row)
    assert reason in str(error.value)


PROBLEMS = [
    (row(question="Q?", answer="72"), ("Q?", "72", "")),
    (row(question="Q?", answer=72), ("Q?", "72", "")),
    (row(Problem="Q?", Answer=204, Solution="because"), ("Q?", "204", "because")),
    (row(problem="Q?", solution=r"so $\\boxed{1}$, no: \\boxed{\\frac{3}{4}}"), ("Q?", r"\\frac{3}{4}", None)),
    (row(problem="Q?", answer=r"\\sqrt2", solution=r"\\boxed{\\sqrt2}"), ("Q?", r"\\sqrt2", r"\\boxed{\\sqrt2}")),
    (row(prompt=[{"role": "user", "content": "Q?"}], solution="$7$"), ("Q?", "$7$", "")),
    (row(prompt=[*SYSTEM, {"role": "user", "content": "Q?"}], reward_model={"ground_truth": "7"}), ("Q?", "7", "")),
    (row(messages=[{"role": "user", "content": "Q?"}], ground_truth=["7"], dataset="gsm8k"), ("Q?", "7", "")),
    (row(question="Q?", answer=None, answer_number=5.0), ("Q?", "5.0", "")),
    (row(instruction="Add.", input="1, 2", answer="3"), ("Add.\n\n1, 2", "3", "")),
]


@pytest.mark.parametrize(("given_row", "expected"), PROBLEMS)
def test_problems_of_the_fields_shapes(given_row, expected):
    found = problem_from(given_row)
    reasoning = given_row.data.get("solution") if expected[2] is None else expected[2]
    assert (found.question, found.answer, found.reasoning) == (*expected[:2], reasoning)


def test_plain_answers_are_believed_only_where_no_row_is_marked(tmp_path):
    plain = [{"question": f"Q{n}?", "answer": str(n)} for n in range(3)]
    assert [p.answer for p in read_problems(jsonl(tmp_path, *plain)).items] == ["0", "1", "2"]
    assert len(read_problems(jsonl(tmp_path, *plain), limit=2).items) == 2
    mixed = read_problems(jsonl(tmp_path, *plain, {"question": "Q?", "answer": "so\n#### 7"}))
    assert ([p.answer for p in mixed.items], [r.origin.line for r in mixed.rejected]) == (["7"], [1, 2, 3])
    assert (
        mixed.rejected[0].reason
        == '"answer" has no "#### N" line, as other rows have; pass --answer-key or fix the row'
    )
    assert (
        len(read_problems(jsonl(tmp_path, *plain, {"question": "Q?", "answer": "#### 7"}), answer_key="answer").items)
        == 4
    )


def test_reading_problems_accounts_for_every_row(tmp_path):
    good = {"question": "Q?", "answer": "#### 1"}
    path = jsonl(tmp_path, good, "{", {"question": "R?", "answer": "1"}, good, {**good, "id": "x"}, good)
    found = read_problems(path)
    first = text_id("Q?")
    assert [p.id for p in found.items] == [first, f"{first}-2", "x", f"{first}-3"]
    assert [(r.origin.line, r.reason[:8]) for r in found.rejected] == [(2, "not JSON"), (3, '"answer"')]
    assert found.rejected[1].raw == '{"question": "R?", "answer": "1"}'
    assert found.n_read == len(found.items) + len(found.rejected) == 6
    assert found.sha256 == source_sha256(path)


def test_ids_stay_unique_where_a_row_already_has_the_made_up_one(tmp_path):
    rows = [{"id": i, "question": "Q?", "answer": "#### 1"} for i in ("a", "a-2", "a", "a")]
    assert [p.id for p in read_problems(jsonl(tmp_path, *rows)).items] == ["a", "a-2", "a-3", "a-4"]


def test_a_limit_takes_the_first_usable_ones(tmp_path):
    good = [{"question": f"Q{n}?", "answer": f"#### {n}"} for n in range(5)]
    found = read_problems(jsonl(tmp_path, "[]", *good), limit=2)
    assert ([p.answer for p in found.items], len(found.rejected), found.n_read) == (["0", "1"], 1, 3)
    with pytest.raises(ToolError, match="must be 1 or more, got 0"):
        read_problems(tmp_path / "a.jsonl", limit=0)


def test_nothing_usable_is_one_sentence(tmp_path):
    path = jsonl(tmp_path, *[{"Frage": "Q?", "answer": "#### 1"}] * 3)
    with pytest.raises(ToolError) as error:
        read_problems(path)
    assert str(error.value) == (
        f"{path}: no usable row (3 read, 3 rejected; "
        'first: line 1: no key "question" (there is Frage, answer); pass --question-key)'
    )
    with pytest.raises(ToolError, match=r"no usable row \(the source is empty\)"):
        read_problems(jsonl(tmp_path))


def test_demo_problems_are_hashed_by_their_rows():
    three, again = (read_problems("demo://problems?split=test&size=3") for _ in range(2))
    assert len(three.items) == 3
    assert all(p.reasoning and p.answer for p in three.items)
    assert three.sha256 == again.sha256
    assert three.sha256 != read_problems("demo://problems?split=test&size=3", limit=2).sha256


def test_conversations_of_both_shapes(tmp_path):
    path = jsonl(
        tmp_path,
        {"messages": [{"role": "system", "content": "Be kind."}, *TURNS], "source": "s"},
        {"prompt": "P", "response": "R", "grade": 6, "topic_tags": '["fractions"]'},
        {"prompt": TURNS[:1], "response": "R", "topic_tags": "algebra", "id": "c"},
    )
    system, plain, listed = read_conversations(path).items
    assert [m.role for m in system.messages] == ["system", "user", "assistant"]
    assert system.extra == {"source": "s"}
    assert plain.messages == (Message("user", "P"), Message("assistant", "R"))
    assert plain.extra == {"grade": 6, "topic_tags": ["fractions"]}
    assert listed.messages == (Message("user", "Hi"), Message("assistant", "R"))
    assert (listed.id, listed.extra) == ("c", {"topic_tags": ["algebra"]})
    assert len({system.id, plain.id}) == 2


CONVERSATIONS = [
    row(messages=TURNS),
    row(conversations=[{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]),
    row(conversations=TURNS),
    row(prompt="Hi", completion="Hello"),
    row(prompt=TURNS[:1], completion=TURNS[1:]),
    row(prompt=TURNS[:1], response="Hello"),
    row(instruction="Hi", input="", output="Hello"),
    row(
        messages=[{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}, TURNS[1]]
    ),
]


@pytest.mark.parametrize("given_row", CONVERSATIONS)
def test_a_conversation_is_the_same_in_every_shape(given_row):
    assert [(m.role, m.content) for m in conversation_from(given_row).messages] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
    ]
    assert conversation_from(given_row).extra == {}


def test_alpacas_input_and_sharegpts_system_are_not_lost():
    alpaca = conversation_from(row(instruction="Add.", input="1, 2", output="3"))
    assert alpaca.messages[0].content == "Add.\n\n1, 2"
    talk = conversation_from(row(system="Be kind.", conversations=[{"from": "human", "value": "Hi"}, TURNS[1]]))
    assert talk.messages[0] == Message("system", "Be kind.")


def test_rows_of_open_instruct_are_trained_on_as_problems(tmp_path):
    path = jsonl(tmp_path, {"messages": TURNS[:1], "ground_truth": "7", "dataset": "gsm8k"}, {"messages": TURNS})
    problem, conversation = read_examples(path).items
    assert (problem.question, problem.answer, problem.extra) == ("Hi", "7", {"dataset": "gsm8k"})
    assert conversation.messages[1].content == "Hello"


NO_CONVERSATION = [
    (row(messages=[*TURNS, {"role": "assistant", "content": "x", "tool_calls": [{}]}]), '"messages.2" calls a tool'),
    (row(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "is of the type 'image_url'; only text"),
    (row(question="Q", answer="A"), "none of {messages}, {conversations}, "),
    (row(messages=[]), '"messages" is not a list of messages'),
    (row(messages="Hi"), '"messages" is not a list of messages'),
    (row(messages=["Hi"]), '"messages.0" is not an object with "role" and "content"'),
    (row(messages=[*TURNS, {"role": "tool", "content": "x"}]), "\"messages.2\" has the role 'tool'; known: system"),
    (row(messages=[*TURNS, {"role": ["x"], "content": "x"}]), "has the role \"['x']\""),
    (row(messages=[{"role": "user"}]), 'no key "content"'),
    (row(messages=[{"role": "user", "content": None}]), '"messages.0.content" is not text but NoneType'),
    (row(messages=TURNS[:1]), "the last message is the user's, not the assistant's"),
    (row(messages=TURNS[1:]), "no message is the user's"),
    (row(messages=[*TURNS[:1], {"role": "system", "content": "x"}, TURNS[1]]), "a system message comes after"),
    (row(prompt="P", response=" "), '"response" is empty'),
]


@pytest.mark.parametrize(("given_row", "reason"), NO_CONVERSATION)
def test_a_row_that_is_no_conversation_says_why(given_row, reason):
    with pytest.raises(UnusableError) as error:
        conversation_from(given_row)
    assert reason in str(error.value)


def test_shapes_are_told_apart():
    assert detect_shape({"messages": [], "question": 1, "answer": 2}) == "messages"
    assert detect_shape({"prompt": 1, "response": 2, "grade": 3}) == "prompt-response"
    assert detect_shape({"question": 1, "answer": 2, "id": 3}) == "question-answer"
    assert detect_shape({"goal": 1, "steps": []}) == "procedure"
    assert detect_shape({"question": 1}) is None


def test_a_procedure_is_its_goal_and_numbered_steps():
    assert procedure_text("Boil an egg", ["Heat water", "Wait"]) == "Boil an egg\n1. Heat water\n2. Wait"
    assert procedure_text("Rest", []) == "Rest"


@real_data
@pytest.mark.real_data
def test_gsm8k_and_math_are_read_whole():
    train, test = read_problems(DATA / "gsm8k/train.jsonl"), read_problems(DATA / "gsm8k/test.jsonl")
    assert (len(train.items), len(test.items), train.rejected, test.rejected) == (7473, 1319, [], [])
    everything = train.items + test.items
    assert not [p for p in everything if "<<" in p.reasoning or "####" in p.reasoning or not p.reasoning]
    assert sum("," in p.answer for p in train.items) == 79
    assert sum("," in p.answer for p in test.items) == 14
    assert test.sha256.startswith("3730d312f6e34405")
    math500 = read_problems(DATA / "math/math500.jsonl", question_key="problem", answer_key="answer")
    assert (len(math500.items), math500.rejected) == (500, [])
    assert math500.items[0].reasoning.startswith("We have that")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_that_a_server_gives_apart_stands_before_the_content(field, tmp_path):
    reply = {"role": "assistant", "content": "No.", field: "1001 = 7 * 143"}
    asked = {"role": "user", "content": "Is 1001 prime?", field: "left where it is"}
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": [asked, reply]}) + "\n")
    (talk,) = read_conversations(str(tmp_path / "talk.jsonl")).items
    assert [m.content for m in talk.messages] == ["Is 1001 prime?", "<think>\n1001 = 7 * 143\n</think>\n\nNo."]


def test_reasoning_that_stands_in_the_content_too_is_there_once(tmp_path):
    reply = {"role": "assistant", "content": "<think>\n7 * 143\n</think>\nNo.", "reasoning_content": "7 * 143\n"}
    asked = {"role": "user", "content": "Is 1001 prime?"}
    (tmp_path / "talk.jsonl").write_text(json.dumps({"messages": [asked, reply]}) + "\n")
    (talk,) = read_conversations(str(tmp_path / "talk.jsonl")).items
    assert talk.messages[1].content == "<think>\n7 * 143\n</think>\nNo."
