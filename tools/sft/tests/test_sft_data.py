import dataclasses

import pytest

from tools_sft.config import SftConfig
from tools_sft.data.encoding import collate, encode, pack
from tools_shared.errors import ToolError
from tools_shared.models import resolve
from tools_shared.models.load import load_tokenizer
from tools_shared.prompts import PROFILES, Example, encode_example
from tools_shared.records import Conversation, Message, Origin, Problem

TAGS = PROFILES["gsm8k-tags"]
ROWS = [
    Problem("a", "What is 1 + 1?", "2", "1 + 1 = 2", Origin("train.jsonl", 1)),
    Problem("b", "What is 1 + 2? " * 30, "3", "1 + 2 = 3", Origin("train.jsonl", 2)),
    Conversation("c", (Message("user", "Hello"), Message("assistant", "Hi there")), Origin("train.jsonl", 3)),
]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(resolve("demo"))


def learned(tokenizer, example):
    return tokenizer.decode([t for t, m in zip(example.token_ids, example.loss_mask, strict=True) if m])


def test_what_is_learned_is_the_completion_and_the_end_of_turn(tokenizer):
    encoded = encode(tokenizer, TAGS, ROWS, SftConfig())
    assert learned(tokenizer, encoded.examples[0]) == f"{TAGS.completion('1 + 1 = 2', '2')}<|im_end|>"
    assert learned(tokenizer, encoded.examples[2]) == "Hi there<|im_end|>"
    assert all(all(e.loss_mask) for e in encode(tokenizer, TAGS, ROWS, SftConfig(loss_on="all")).examples)


def test_overlong_examples_are_an_error_or_rejected_or_cut(tokenizer):
    with pytest.raises(ToolError, match=r"train.jsonl:2: \d+ tokens, more than --max-length 150"):
        encode(tokenizer, TAGS, ROWS, SftConfig(max_length=150))
    dropped = encode(tokenizer, TAGS, ROWS, SftConfig(max_length=150, on_overlong="drop"))
    assert [len(dropped.examples), [r.origin.line for r in dropped.rejected]] == [2, [2]]
    whole = encode(tokenizer, TAGS, ROWS, SftConfig(loss_on="all"))
    cut = encode(tokenizer, TAGS, ROWS, SftConfig(max_length=150, on_overlong="truncate", loss_on="all"))
    assert cut.n_truncated == 1
    assert cut.examples[1].token_ids == whole.examples[1].token_ids[:150]


def test_an_example_cut_before_anything_is_learned_is_rejected(tokenizer):
    cut = encode(tokenizer, TAGS, ROWS, SftConfig(max_length=150, on_overlong="truncate"))
    assert [r.origin.line for r in cut.rejected] == [2]


def test_the_model_s_context_is_a_limit_too(tokenizer):
    with pytest.raises(ToolError, match=r"train.jsonl:2: \d+ tokens, more than the model's 150; pass --on-overlong"):
        encode(tokenizer, TAGS, ROWS, SftConfig(max_length=5000), 150)
    asked = {"objective": "distill", "teacher": "demo", "on_policy": True, "max_completion_length": 400}
    with pytest.raises(ToolError, match=r"train.jsonl:2: .* --max-completion-length 400 it exceeds the model's 450"):
        encode(tokenizer, TAGS, ROWS, SftConfig(**asked), 450)


def test_nothing_left_is_an_error(tokenizer):
    with pytest.raises(ToolError, match="every example is longer than --max-length 8"):
        encode(tokenizer, TAGS, ROWS, SftConfig(max_length=8, on_overlong="drop"))


def test_packing_keeps_every_example_once_and_bins_full():
    examples = [Example((i,) * n, (True,) * n) for i, n in enumerate([5, 9, 3, 7, 10, 1, 2, 8, 4, 6])]
    bins = pack(examples, 11)
    assert sorted(e.token_ids for one in bins for e in one) == sorted(e.token_ids for e in examples)
    assert all(sum(len(e.token_ids) for e in one) <= 11 for one in bins)
    assert len(bins) == 5  # 55 tokens do not fit into fewer bins of 11


def rows(*groups):
    return [{"token_ids": [list(t) for t, _ in g], "loss_mask": [list(m) for _, m in g]} for g in groups]


def test_padding_is_not_learned_and_not_attended_to():
    batch = collate(rows([((5, 6, 7), (False, True, True))], [((8, 9), (False, True))]), pad_token_id=0)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 9, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, 9, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_packed_examples_are_told_apart_by_their_positions():
    batch = collate(rows([((5, 6, 7), (True, True, True)), ((8, 9), (True, True))]), pad_token_id=0)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1]]
    assert batch["labels"].tolist() == [[-100, 6, 7, -100, 9]]
    assert "attention_mask" not in batch


def test_packed_loss_equals_the_loss_apart(tokenizer):
    import torch

    from tools_shared.models import load

    model = load(resolve("demo"), device="cpu").model
    examples = encode(tokenizer, TAGS, [ROWS[0], ROWS[2]], SftConfig()).examples
    apart = collate(rows(*[[(e.token_ids, e.loss_mask)] for e in examples]), tokenizer.pad_token_id)
    packed = collate(rows([(e.token_ids, e.loss_mask) for e in examples]), tokenizer.pad_token_id)
    n = sum(sum(e.loss_mask) for e in examples)
    with torch.inference_mode():
        losses = [model(**batch, use_cache=False, num_items_in_batch=torch.tensor(n)).loss for batch in (apart, packed)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)


TALK = Conversation(
    "d",
    (
        Message("system", "Answer in one word."),
        Message("user", "Capital of Peru?"),
        Message("assistant", "Lima"),
        Message("user", "And of Chad?"),
        Message("assistant", "N'Djamena"),
    ),
    Origin("talks.jsonl", 1),
)


FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ '...' if m['role'] == 'assistant' else m['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A template that renders earlier turns otherwise than they were written."""


@pytest.mark.parametrize("template", [None, FORGETFUL])
def test_every_assistant_turn_is_learned_behind_the_prompt_that_it_had(template):
    from tools_shared.models.load import load_tokenizer
    from tools_shared.models.resolve import resolve
    from tools_shared.prompts import render_prompt

    tokenizer = load_tokenizer(resolve("demo"))
    tokenizer.chat_template = template or tokenizer.chat_template
    encoded = encode(tokenizer, TAGS, [TALK, ROWS[0]], SftConfig(loss_on="assistant"))
    assert encoded.n_rows == 2
    *talk, problem = encoded.examples
    assert len(talk) == len(encoded.row_ids) - 1 == (1 if template is None else 2)
    said = [learned(tokenizer, one) for one in talk]
    assert "".join(said) == "Lima<|im_end|>N'Djamena<|im_end|>"
    for n_before, answer in ((2, "Lima"), (4, "N'Djamena")):
        prompt = render_prompt(tokenizer, TAGS, TALK.messages[:n_before]).token_ids
        own = tokenizer(answer, add_special_tokens=False)["input_ids"]
        start = (*prompt, *own)
        behind = [one for one in talk if one.token_ids[: len(start)] == start]
        assert behind
        assert all(all(one.loss_mask[len(prompt) : len(start) + 1]) for one in behind)
    assert [problem] == encode(tokenizer, TAGS, [ROWS[0]], SftConfig()).examples


def test_joined_turns_have_the_gradient_of_the_separate_ones(tokenizer):
    import torch

    from tools_shared.models.load import load
    from tools_shared.models.resolve import resolve
    from tools_shared.prompts import render_turn

    places = (2, 4)
    turns = [render_turn(tokenizer, TAGS, TALK.messages[:i], TALK.messages[i]) for i in places]
    apart = [encode_example(tokenizer, prompt, said) for prompt, said in turns]
    joined = encode(tokenizer, TAGS, [TALK], SftConfig(loss_on="assistant")).examples
    assert len(joined) == 1
    model = load(resolve("demo")).model.float()
    n = sum(sum(one.loss_mask) for one in joined)
    losses = []
    for examples in (apart, joined):
        batch = [
            (
                torch.tensor([e.token_ids]),
                torch.tensor([[t if m else -100 for t, m in zip(e.token_ids, e.loss_mask, strict=True)]]),
            )
            for e in examples
        ]
        with torch.inference_mode():
            losses.append(sum(model(ids, labels=labels, num_items_in_batch=n).loss for ids, labels in batch))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)


def test_a_conversation_whose_later_turns_are_too_long_keeps_the_earlier_ones(tokenizer):
    first = dataclasses.replace(TALK, messages=TALK.messages[:3])
    (whole,) = encode(tokenizer, TAGS, [first], SftConfig(loss_on="assistant")).examples
    limit = len(whole.token_ids)
    some = encode(tokenizer, TAGS, [TALK], SftConfig(loss_on="assistant", max_length=limit, on_overlong="drop"))
    assert (some.examples, some.n_truncated, some.rejected) == ([whole], 1, [])
