import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tools_shared.answers import equal, extract
from tools_shared.errors import ToolError
from tools_shared.prompts import (
    PROFILES,
    Profile,
    encode_example,
    end_of_turn_id,
    load_profile,
    question_messages,
    render_prompt,
    render_question,
)
from tools_shared.records import Message

EVERY_PROFILE = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
QUESTION = "A pen costs 3 dollars. How much do 4 pens cost?"


@EVERY_PROFILE
@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("gold", ["12", "1,000", "\\frac{3}{4}", "x^{2}+1"])
def test_gold_completion_parses_back(profile, opened, gold):
    completion = profile.completion("4 * 3 = 12\nSo 12 dollars.", gold, opened)
    parsed = profile.parse(completion, opened)
    assert (parsed.answer, parsed.well_formed) == (gold, True)
    assert "4 * 3 = 12" in parsed.thinking
    assert completion[slice(*parsed.answer_span)] == gold


@EVERY_PROFILE
def test_prompt_and_gold_completion_parse_back_through_tokens(profile, demo):
    prompt = render_question(demo.tokenizer, profile, QUESTION)
    example = encode_example(demo.tokenizer, prompt, profile.completion("4 * 3 = 12", "12", prompt.opens_thinking))
    text = demo.tokenizer.decode(
        [t for t, learned in zip(example.token_ids, example.loss_mask, strict=True) if learned],
        skip_special_tokens=True,
    )
    found = extract(text, profile, opened=prompt.opens_thinking)
    assert equal("12", found.answer).status == "correct"


@EVERY_PROFILE
def test_plain_layout_where_there_is_no_template(profile, plain_tokenizer):
    prompt = render_question(plain_tokenizer, profile, QUESTION)
    assert prompt.text == f"{profile.system}\n\nQuestion: {QUESTION}\n\nAnswer:\n"
    assert plain_tokenizer.decode(prompt.token_ids) == prompt.text


def test_end_of_turn_is_learned_and_the_prompt_is_not(demo):
    profile = PROFILES["gsm8k-tags"]
    prompt = render_question(demo.tokenizer, profile, QUESTION)
    example = encode_example(demo.tokenizer, prompt, profile.completion("4 * 3 = 12", "12"))
    assert example.token_ids[-1] == end_of_turn_id(demo.tokenizer)
    n_prompt = len(prompt.token_ids)
    assert not any(example.loss_mask[:n_prompt])
    assert all(example.loss_mask[n_prompt:])
    whole = encode_example(demo.tokenizer, prompt, "x", loss_on="all")
    assert all(whole.loss_mask)


def test_end_of_turn_is_the_templates_own_token(demo):
    assert demo.tokenizer.convert_ids_to_tokens(end_of_turn_id(demo.tokenizer)) == "<|im_end|>"


def test_a_template_that_opens_the_tag_is_seen(opening_tokenizer):
    prompt = render_question(opening_tokenizer, PROFILES["think"], QUESTION)
    assert prompt.opens_thinking
    assert not render_question(opening_tokenizer, PROFILES["boxed"], QUESTION).opens_thinking
    completion = PROFILES["think"].completion("4 * 3 = 12", "12", prompt.opens_thinking)
    assert not completion.startswith("<think>")
    assert PROFILES["think"].parse(completion, opened=True).answer == "12"


def test_a_template_without_a_system_role_gets_its_text_in_the_users_turn(demo):
    from copy import deepcopy

    tokenizer = deepcopy(demo.tokenizer)
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    tokenizer.chat_template = refuse + tokenizer.chat_template
    profile = PROFILES["boxed"]
    prompt = render_question(tokenizer, profile, QUESTION)
    assert f"user\n{profile.system}\n\n{QUESTION}" in prompt.text


def test_conversations_go_through_the_template_too(demo):
    messages = [
        *question_messages(PROFILES["boxed"], "1 + 1?"),
        Message("assistant", "2"),
        Message("user", "and 2 + 2?"),
    ]
    prompt = render_prompt(demo.tokenizer, PROFILES["boxed"], messages)
    assert prompt.text.index("1 + 1?") < prompt.text.index("and 2 + 2?")


@pytest.mark.parametrize(
    ("text", "answer", "well_formed"),
    [
        ("<start_working_out>a<end_working_out><SOLUTION>1</SOLUTION>", "1", True),
        (" <start_working_out>a<end_working_out>\n<SOLUTION> 1 </SOLUTION>\n", "1", True),
        ("<start_working_out>a<SOLUTION>1</SOLUTION>", None, False),
        ("<SOLUTION>1</SOLUTION>", "1", False),
        ("<start_working_out><end_working_out><SOLUTION>1</SOLUTION>", "1", False),
        ("<start_working_out>a<end_working_out><SOLUTION>1</SOLUTION> or 2", "1", False),
        ("<start_working_out>a<end_working_out><SOLUTION>1</SOLUTION><SOLUTION>2</SOLUTION>", "2", False),
        ("so <start_working_out>a<end_working_out><SOLUTION>1</SOLUTION>", "1", False),
        ("<start_working_out>a<end_working_out>b<SOLUTION>1</SOLUTION>", "1", False),
        ("<start_working_out>a<end_working_out><SOLUTION>1", None, False),
        ("<start_working_out>a<end_working_out></SOLUTION>1<SOLUTION>", None, False),
    ],
)
def test_malformed_completions(text, answer, well_formed):
    parsed = PROFILES["gsm8k-tags"].parse(text)
    assert (parsed.answer, parsed.well_formed) == (answer, well_formed)


def test_a_brace_in_a_box_is_matched_and_the_last_closed_box_counts():
    parse = PROFILES["boxed"].parse
    assert parse("so \\boxed{\\frac{1}{2}}. Then \\boxed{{3}}").answer == "{3}"
    assert parse("so $x = \\boxed{2}$ or $x = \\boxed{3}$").answer == "\\boxed{2}$ or $x = \\boxed{3}"
    assert parse("so \\boxed{1} and \\boxed{2").answer == "1"
    assert parse("so \\boxed{2").answer is None


def test_boxes_that_are_joined_are_one_answer_and_two_alone_are_not():
    parsed = PROFILES["boxed"].parse("It has two roots: $x=\\boxed{2}$ or $x=\\boxed{3}$.")
    assert (parsed.n_blocks, parsed.well_formed, parsed.thinking) == (1, True, "It has two roots: $x=")
    for text in ("so \\boxed{2}. So \\boxed{3}", "so \\boxed{2} and \\boxed{2}", "so \\boxed{2} or \\boxed{}"):
        assert not PROFILES["boxed"].parse(text).well_formed


@EVERY_PROFILE
@given(
    text=st.text()
    | st.lists(st.sampled_from(["<think>", "</think>", "\\boxed{", "{", "}", "<SOLUTION>", "1"])).map("".join)
)
def test_any_text_is_taken_apart(profile, text):
    parsed = profile.parse(text)
    assert (parsed.answer is None) == (parsed.answer_span is None)


@pytest.mark.parametrize("unit", ["\\boxed{", "{", "<SOLUTION>", "<start_working_out>", "</SOLUTION>"])
@EVERY_PROFILE
def test_a_megabyte_of_tags_is_taken_apart(profile, unit):
    text = unit * (1_000_000 // len(unit))
    assert not profile.parse(text).well_formed  # anything quadratic would not come back from this


def test_a_profile_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"name": "mine", "system": "Solve.", "answer": ["<a>", "</a>"], "think": ["<t>", "</t>"]})
    )
    mine = load_profile(str(file))
    assert mine.parse(mine.completion("r", "5")).answer == "5"
    assert Profile.from_json(mine.to_json()) == mine


@pytest.mark.parametrize(
    "text", ["name: x", "[1]", "{name: x, system: y, answer: [a]}", "{name: x, system: y, answer: [a, b], z: 1}"]
)
def test_a_broken_profile_file_is_one_sentence(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ToolError, match=r"mine\.yaml"):
        load_profile(str(file))


def test_an_unknown_profile_names_the_known_ones():
    with pytest.raises(ToolError, match="gsm8k-tags, think, boxed"):
        load_profile("gsm")
