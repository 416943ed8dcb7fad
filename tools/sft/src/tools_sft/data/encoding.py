"""From rows to masked token sequences: nothing is dropped or truncated silently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools_shared.console import progress
from tools_shared.errors import ToolError, brief
from tools_shared.prompts import Example, Profile, check_written, encode_example, render_question, render_turn
from tools_shared.prompts.chat_template import TemplateRefusedError
from tools_shared.records import Conversation, Origin, Problem, Rejected

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from tools_sft.config import SftConfig


@dataclass(frozen=True)
class Encoded:
    """Examples ready for training; `rejected` are those left out, `n_truncated` those cut at the maximum length."""

    examples: list[Example]
    rejected: list[Rejected]
    n_truncated: int
    n_rows: int
    """Rows that the examples were made of: with `--loss-on assistant` a conversation may make several."""
    row_ids: list[str]
    """Of each example the id of its row."""

    @property
    def n_tokens(self) -> int:
        return sum(len(example.token_ids) for example in self.examples)


def encode(
    tokenizer: PreTrainedTokenizerBase,
    profile: Profile,
    records: Sequence[Problem | Conversation],
    config: SftConfig,
    context_length: int | None = None,
) -> Encoded:
    """Each record's tokens and loss mask, and the verdict on those longer than `max_length` or the model's context.

    Raises ToolError for an overlong example unless it may be dropped or cut, for a prompt that leaves no room for what
    --on-policy samples, and when no example is left.
    """
    examples, rejected, row_ids, n_truncated, n_rows = [], [], [], 0, 0
    limit = min(config.max_length, context_length or config.max_length)
    bound, raised = ("--max-length", "raise it, or pass") if limit == config.max_length else ("the model's", "pass")
    check_written(tokenizer, profile)
    for record in progress(records, label="tokenising", unit="row"):
        try:
            turns = encode_record(tokenizer, profile, record, config.loss_on)
        except TemplateRefusedError as error:
            reason = f"the model's chat template refuses it ({brief(str(error), 300, quoted=False)})"
            rejected.append(Rejected(record.origin or Origin(str(config.source), 0), reason))
            continue
        if config.on_policy and context_length:
            _check_room(turns[0], str(record.origin), config.max_completion_length, context_length)
        longest = max(len(turn.token_ids) for turn in turns)
        if longest > limit:
            reason = f"{longest} tokens, more than {bound} {limit}"
            if config.on_overlong == "error":
                raise ToolError(f"{record.origin}: {reason}; {raised} --on-overlong drop or truncate")
            turns = _within(turns, limit, config.on_overlong == "truncate")
            if not turns:
                rejected.append(Rejected(record.origin or Origin(str(config.source), 0), reason))
                continue
            n_truncated += 1
        turns = _joined(turns)
        n_rows += 1
        examples += turns
        row_ids += [record.id] * len(turns)
    if not examples and rejected and "template" in rejected[0].reason:
        raise ToolError(f"{rejected[0].origin}: {rejected[0].reason}, and every other row is rejected too")
    if not examples:
        raise ToolError(f"{config.source}: every example is longer than {bound} {limit}; give shorter ones")
    return Encoded(examples, rejected, n_truncated, n_rows, row_ids)


def _within(turns: Sequence[Example], limit: int, cut: bool) -> list[Example]:
    """The turns of a row that are not too long, and of the others, if they may be cut, what is learned of them within
    the limit."""
    fitted = [
        t if len(t.token_ids) <= limit or not cut else Example(t.token_ids[:limit], t.loss_mask[:limit]) for t in turns
    ]
    return [turn for turn in fitted if len(turn.token_ids) <= limit and any(turn.loss_mask)]


def _joined(turns: Sequence[Example]) -> list[Example]:
    """One example for turns that each begin with all tokens of the one before, as from templates that render an earlier
    turn as it was written: its tokens are then computed once, and not again with each later turn. A turn that the
    template renders differently later on stays an example of its own.
    """
    joined = list(turns[:1])
    for turn in turns[1:]:
        before = joined[-1]
        n = len(before.token_ids)
        if turn.token_ids[:n] == before.token_ids:
            joined[-1] = Example(turn.token_ids, (*before.loss_mask, *turn.loss_mask[n:]))
        else:
            joined.append(turn)
    return joined


def _check_room(example: Example, name: str, new_tokens: int, context_length: int) -> None:
    """Raises ToolError for a prompt too long for a completion of `new_tokens` in the place of the data's."""
    n_prompt = example.loss_mask.index(True)
    if n_prompt + new_tokens > context_length:
        raise ToolError(
            f"{name}: the prompt has {n_prompt} tokens; with --max-completion-length {new_tokens} it exceeds the "
            f"model's {context_length}; lower it or leave the row out"
        )


def encode_record(
    tokenizer: PreTrainedTokenizerBase, profile: Profile, record: Problem | Conversation, loss_on: str
) -> list[Example]:
    """A problem through the profile, or a conversation as it stands: its last turn is what is learned.

    With `loss_on` `assistant` each of its assistant turns is an example after the prompt that it had: some templates
    render an earlier turn differently (Qwen3's drop its reasoning), in a form that a model never writes.
    """
    if isinstance(record, Problem):
        prompt = render_question(tokenizer, profile, record.question)
        completion = profile.completion(record.reasoning, record.answer, prompt.opens_thinking)
        return [encode_example(tokenizer, prompt, completion, loss_on)]
    last = len(record.messages) - 1
    places = range(1, last + 1) if loss_on == "assistant" else (last,)
    spoken = [i for i in places if record.messages[i].role == "assistant"]
    turns = [render_turn(tokenizer, profile, record.messages[:i], record.messages[i], record.tools) for i in spoken]
    return [encode_example(tokenizer, prompt, completion, loss_on) for prompt, completion in turns]


def rows_of(examples: Sequence[Example], max_length: int, packing: bool) -> list[list[Example]]:
    """The rows of the batches: one example each, or several when they are packed."""
    return pack(examples, max_length) if packing else [[example] for example in examples]


def pack(examples: Sequence[Example], max_length: int) -> list[list[Example]]:
    """Bins of examples of at most `max_length` tokens each: first fit, longest first.

    Bins are searched by remaining room, so packing a million rows stays fast.
    """
    bins: list[list[Example]] = []
    room: dict[int, list[int]] = {}
    for example in sorted(examples, key=lambda e: -len(e.token_ids)):
        need = len(example.token_ids)
        left = next((r for r in range(need, max_length + 1) if room.get(r)), None)
        if left is None:
            index, left = len(bins), max_length
            bins.append([])
        else:
            index = room[left].pop()
        bins[index].append(example)
        room.setdefault(left - need, []).append(index)
    return bins


def collate(rows: Sequence[dict[str, list]], pad_token_id: int) -> dict[str, torch.Tensor]:
    """A batch as tensors, each (rows, tokens), padded on the right.

    A row holds the `token_ids` and `loss_mask` of its examples. Padding and everything not learned has the label -100.
    Rows with several examples carry `position_ids` that start over with each, and no attention mask: the model
    keeps the examples apart by them.
    """
    import torch

    width = max(sum(map(len, row["token_ids"])) for row in rows)
    batch = {
        "input_ids": torch.full((len(rows), width), pad_token_id),
        "labels": torch.full((len(rows), width), -100),
        "attention_mask": torch.zeros((len(rows), width), dtype=torch.long),
        "position_ids": torch.zeros((len(rows), width), dtype=torch.long),
    }
    for i, row in enumerate(rows):
        start = 0
        for token_ids, loss_mask in zip(row["token_ids"], row["loss_mask"], strict=True):
            end = start + len(token_ids)
            # An example's first token has nothing before it to be predicted from.
            learned = [False, *loss_mask[1:]]
            labels = [token if learn else -100 for token, learn in zip(token_ids, learned, strict=True)]
            batch["input_ids"][i, start:end] = torch.tensor(token_ids)
            batch["labels"][i, start:end] = torch.tensor(labels)
            batch["attention_mask"][i, start:end] = 1
            batch["position_ids"][i, start:end] = torch.arange(end - start)
            start = end
        batch["position_ids"][i, start:] = torch.arange(width - start)
    packed = any(len(row["token_ids"]) > 1 for row in rows)
    del batch["attention_mask" if packed else "position_ids"]
    return batch
