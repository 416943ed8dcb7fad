"""Packing: a forward pass in which the rows of a group share one copy of the tokens that they begin with.

A padded batch computes a prompt once for every completion, and padding besides. Here all tokens stand in one row:
of each group the prompt without its last token (the prefix), then for each completion the prompt's last token and
all of the completion but its last. So token j of a segment predicts token j of its completion. For GRPO a group is a
question's samples; for SFT it is any rows that begin alike, and their "completion" is all that follows. Positions begin
again with each completion. Linear layers see no padding; attention takes the segments of a group as separate rows
that share their prefix, and is padded to the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

from tools_shared.engines.local.continuous import has_slots

CHECKED = frozenset(
    {"gemma", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3", "starcoder2"}
)
"""Architectures whose packed log-probabilities and gradients are tested against the padded ones."""
ROTARY = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of position embedding that depend on a token's position alone, and not on the batch's longest."""
MASK_ELEMENTS = 1 << 24
"""Most elements of one block's attention mask; a block is never less than one group."""


@dataclass(frozen=True)
class PackedRow:
    """One completion of a batch: its number there, its prompt and its own tokens; `learned` says which of those are
    predicted (None: all)."""

    index: int
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    learned: tuple[bool, ...] | None = None

    @property
    def places(self) -> list[int]:
        """Which of its own tokens are predicted."""
        return [j for j in range(len(self.completion)) if self.learned is None or self.learned[j]]


@dataclass(frozen=True)
class Block:
    """Groups whose attention is computed together, as positions in the pack; padded with 0 on the right.

    `prefix` (groups, P), `query` (rows, C), `key` (rows, P + C), `mask` (rows or 1, 1, C, P + C).
    """

    prefix: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Tree:
    """A batch packed for one forward.

    `tokens` and `positions` are (1, N); `scored` (n,) are the positions that predict something and `labels` (1, n)
    what; `rows` and `columns` (n,) say where that is in the padded batch. `outputs` (N,) puts attention's results,
    block by block, prefixes before rows, back into the order of the pack.
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    scored: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    blocks: tuple[Block, ...]
    outputs: torch.Tensor


def shares(config: PreTrainedConfig) -> bool:
    """Whether prompts can be shared for an architecture; how it attends is known when it is loaded (`why_not`)."""
    text = config.get_text_config()
    return text.model_type in CHECKED and has_slots(text)


def why_not(config: PreTrainedConfig) -> str | None:
    """Why prompts cannot be shared exactly for a model of this configuration; None where they can."""
    text = config.get_text_config()
    if text.model_type not in CHECKED:
        return f"the architecture {text.model_type} has not been checked"
    if not has_slots(text):
        return "some of its layers do not attend to all tokens"
    rotary = (getattr(text, "rope_parameters", None) or {}).get("rope_type", "default")
    if rotary not in ROTARY:
        return f"its {rotary} position embedding depends on the longest sequence of the batch"
    if text._attn_implementation != "sdpa":
        return f"it attends with {text._attn_implementation} and not with torch's attention"
    return None


Row = tuple[int, Sequence[int], Sequence[bool]]
"""A row of a batch: its number there, its tokens, and which of them are learned."""


def alike(rows: Sequence[Row]) -> list[PackedRow]:
    """Rows in groups that begin alike, up to the first learned token; what follows the last one is left out.

    A row joins the group before it, in the order of their tokens, where no fewer tokens are then saved.
    """
    groups: list[tuple[int, list[Row]]] = []
    for row in sorted((row for row in rows if any(row[2][1:])), key=lambda row: tuple(row[1])):
        most = list(row[2]).index(True, 1)
        if groups:
            n_before, members = groups[-1]
            n_with = _n_alike(members[0][1], row[1], min(n_before, most))
            if n_with and len(members) * n_with >= (len(members) - 1) * n_before:
                groups[-1] = (n_with, [*members, row])
                continue
        groups.append((most, [row]))
    return [_cut(row, n) for n, members in groups for row in members]


def _n_alike(one: Sequence[int], other: Sequence[int], most: int) -> int:
    return next((i for i in range(most) if one[i] != other[i]), most)


def _cut(row: Row, n: int) -> PackedRow:
    index, ids, learned = row
    end = max(i for i, one in enumerate(learned) if one) + 1
    return PackedRow(index, tuple(ids[:n]), tuple(ids[n:end]), tuple(map(bool, learned[n:end])))


def n_tokens(rows: Sequence[PackedRow]) -> int:
    """How many tokens `plant` makes of rows."""
    groups = {row.prompt: len(row.prompt) - 1 for row in rows}
    return sum(groups.values()) + sum(len(row.completion) for row in rows)


def rows_of(ids: torch.Tensor, mask: torch.Tensor, n_new: int, live: torch.Tensor | None = None) -> list[PackedRow]:
    """The completions of a padded batch, `ids` and `mask` (B, P + C) with C = `n_new`; those not `live` (B,) and those
    whose tokens are all masked are left out."""
    keep = [True] * len(ids) if live is None else live.tolist()
    rows = []
    for i, (line, seen) in enumerate(zip(ids.tolist(), mask.tolist(), strict=True)):
        prompt = tuple(token for token, one in zip(line[:-n_new], seen[:-n_new], strict=True) if one)
        completion = tuple(token for token, one in zip(line[-n_new:], seen[-n_new:], strict=True) if one)
        if keep[i] and completion:
            rows.append(PackedRow(i, prompt, completion))
    return rows


def plant(rows: Sequence[PackedRow], device: torch.device) -> Tree:
    """Pack rows, of which neighbours with the same prompt are a group. There must be at least one."""
    tokens: list[int] = []
    positions: list[int] = []
    groups: list[tuple[range, list[range]]] = []
    for prompt, members in groupby(rows, key=lambda row: row.prompt):
        last = len(prompt) - 1
        prefix = range(len(tokens), len(tokens) + last)
        tokens += prompt[:-1]
        positions += range(last)
        segments = []
        for row in members:
            segments.append(range(len(tokens), len(tokens) + len(row.completion)))
            tokens += (prompt[-1], *row.completion[:-1])
            positions += range(last, last + len(row.completion))
        groups.append((prefix, segments))
    blocks = tuple(_block(part, device) for part in _parts(groups))
    segments = [one for _, members in groups for one in members]
    predicted = [(row, one, j) for row, one in zip(rows, segments, strict=True) for j in row.places]
    return Tree(
        tokens=torch.tensor([tokens], device=device),
        positions=torch.tensor([positions], device=device),
        scored=torch.tensor([one[j] for _, one, j in predicted], device=device),
        labels=torch.tensor([[row.completion[j] for row, _, j in predicted]], device=device),
        rows=torch.tensor([row.index for row, _, _ in predicted], device=device),
        columns=torch.tensor([j for _, _, j in predicted], device=device),
        blocks=blocks,
        outputs=_outputs(groups, blocks, len(tokens), device),
    )


Group = tuple[range, list[range]]
"""Where a group is in the pack: its prefix, and the segment of each completion."""


def _parts(groups: Sequence[Group]) -> list[list[Group]]:
    """The groups in portions whose attention masks stay below MASK_ELEMENTS."""
    parts: list[list[Group]] = []
    for group in groups:
        if parts and _mask_elements([*parts[-1], group]) <= MASK_ELEMENTS:
            parts[-1].append(group)
        else:
            parts.append([group])
    return parts


def _mask_elements(groups: Sequence[Group]) -> int:
    longest = max(len(one) for _, segments in groups for one in segments)
    widths = {len(prefix) for prefix, _ in groups}
    n_masks = 1 if len(widths) == 1 else sum(len(segments) for _, segments in groups)
    return n_masks * longest * (longest + max(widths))


def _block(groups: Sequence[Group], device: torch.device) -> Block:
    prefix, n_prefix = _padded([prefix for prefix, _ in groups])
    query, _ = _padded([one for _, segments in groups for one in segments])
    owner = torch.tensor([i for i, (_, segments) in enumerate(groups) for _ in segments])
    own = torch.ones(query.shape[1], query.shape[1], dtype=torch.bool).tril()
    shared = torch.arange(prefix.shape[1]) < n_prefix[owner][:, None]
    if bool(shared.all()):
        shared = shared[:1]
    shared = shared[:, None, None, :].expand(-1, 1, len(own), -1)
    mask = torch.cat([shared, own.expand(len(shared), 1, -1, -1)], dim=-1)
    key = torch.cat([prefix[owner], query], dim=1)
    return Block(prefix.to(device), query.to(device), key.to(device), mask.to(device))


def _padded(ranges: Sequence[range]) -> tuple[torch.Tensor, torch.Tensor]:
    lines = [torch.arange(one.start, one.stop) for one in ranges]
    return pad_sequence(lines, batch_first=True), torch.tensor([len(one) for one in ranges])


def _outputs(groups: Sequence[Group], blocks: Sequence[Block], n_tokens: int, device: torch.device) -> torch.Tensor:
    outputs = torch.empty(n_tokens, dtype=torch.long)
    at, start = 0, 0
    for block in blocks:
        part = groups[at : at + len(block.prefix)]
        at += len(part)
        lines = [(prefix, block.prefix.shape[1]) for prefix, _ in part]
        lines += [(one, block.query.shape[1]) for _, segments in part for one in segments]
        for one, width in lines:
            outputs[one.start : one.stop] = torch.arange(start, start + len(one))
            start += width
    return outputs.to(device)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    tree: Tree | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Torch's attention, and for a packed batch that of its tree; states are (1, heads, N, head size)."""
    if tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    n_rep = query.shape[1] // key.shape[1]
    states = [one[0].transpose(0, 1) for one in (query, key, value)]
    how = {"dropout_p": options.get("dropout", 0.0), "scale": options.get("scaling")}
    found = []
    for block in tree.blocks:
        if block.prefix.shape[1]:
            q, k, v = (_taken(one, block.prefix) for one in states)
            found.append(
                scaled_dot_product_attention(q, repeat_kv(k, n_rep), repeat_kv(v, n_rep), is_causal=True, **how)
            )
        q, k, v = (_taken(one, index) for one, index in zip(states, (block.query, block.key, block.key), strict=True))
        found.append(
            scaled_dot_product_attention(q, repeat_kv(k, n_rep), repeat_kv(v, n_rep), attn_mask=block.mask, **how)
        )
    flat = torch.cat([one.transpose(1, 2).flatten(0, 1) for one in found])
    return flat.index_select(0, tree.outputs)[None], None


def _taken(states: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The states (N, heads, head size) at `index` (rows, tokens), as (rows, heads, tokens, head size)."""
    return states.index_select(0, index.flatten()).view(*index.shape, *states.shape[1:]).transpose(1, 2)


def share_prompts(model: PreTrainedModel) -> None:
    """Make the model's forward take `tree=`: its backbone then returns the hidden states that predict something.

    `model` is the causal language model, below any adapter. Torch's attention stays what it was for all other calls.
    """
    AttentionInterface.register("sdpa", attend)
    model.base_model.register_forward_hook(_scored_only, with_kwargs=True)


def _scored_only(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    tree = kwargs.get("tree")
    if tree is not None:
        output.last_hidden_state = output.last_hidden_state[:, tree.scored]
    return output


def forward_options(tree: Tree) -> dict[str, Any]:
    """Arguments of a packed forward through the fused head that TRL puts on its models."""
    # A mask of four dimensions is taken as it is: the library builds none, and `attend` looks at the tree alone.
    no_mask = torch.zeros(1, 1, 1, 1, device=tree.tokens.device)
    return {
        "input_ids": tree.tokens,
        "position_ids": tree.positions,
        "attention_mask": no_mask,
        "shift_labels": tree.labels,
        "tree": tree,
    }
