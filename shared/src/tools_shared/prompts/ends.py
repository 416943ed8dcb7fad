"""What ends a completion: one set of tokens, from the chat template, the tokenizer and the generation config.

Where a model is loaded the set is written into its generation config. The sampler, TRL, what is saved and what is asked
of a server all take it from there, so that none stops where another does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools_shared.errors import ToolError
from tools_shared.prompts import chat_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an assistant's turn: the first special one that the chat template writes after the content,
    else the end-of-text token. Raises ToolError when the tokenizer has neither.

    Special is what the vocabulary marks so: the tokenizer's own list of named tokens leaves `<end_of_turn>` (Gemma 3)
    and `<|end|>` (Phi) out.
    """
    if tokenizer.chat_template:
        mark = "x1y2z3"
        text = chat_template.render(
            tokenizer, [{"role": "user", "content": "q"}, {"role": "assistant", "content": mark}]
        )
        _, found, after = text.rpartition(mark)
        marked = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
        special = marked | set(tokenizer.all_special_ids)
        for token_id in tokenizer(after, add_special_tokens=False)["input_ids"] if found else ():
            if token_id in special:
                return token_id
    if tokenizer.eos_token_id is None:
        raise ToolError(f"the tokenizer of '{tokenizer.name_or_path}' has no end-of-text token; set eos_token in it")
    return tokenizer.eos_token_id


def stop_ids(tokenizer: PreTrainedTokenizerBase, configured: int | Sequence[int] | None) -> frozenset[int]:
    """The tokens that end a completion: end of turn, end of text, and what the model's generation config names."""
    return frozenset({*_listed(configured), end_of_turn_id(tokenizer), tokenizer.eos_token_id}) - {None}


def set_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Have a model's generation config name all of `stop_ids`, each once, those that it named before first."""
    config = model.generation_config
    named = list(dict.fromkeys(_listed(config.eos_token_id)))
    more = sorted(stop_ids(tokenizer, named) - set(named))
    if more or len(named) != len(_listed(config.eos_token_id)):
        config.eos_token_id = [*named, *more] if len(named) + len(more) > 1 else [*named, *more][0]


def text_of(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], ends: frozenset[int]) -> str:
    """A completion's text without the tokens that end or pad it. Other special tokens stay: a model's tags of reasoning
    and answer may be some of them."""
    gone = ends | {tokenizer.pad_token_id, tokenizer.bos_token_id}
    return tokenizer.decode([token_id for token_id in token_ids if token_id not in gone], skip_special_tokens=False)


def _listed(ids: int | Sequence[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
