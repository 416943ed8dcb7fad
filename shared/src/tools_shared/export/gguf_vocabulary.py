"""A tokenizer as llama.cpp has it: its tokens, how text is split before they are looked up, and the special ones.

llama.cpp knows ways of splitting by name, not by their rules; a tokenizer that splits by other rules is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_shared.errors import ToolError
from tools_shared.models.gguf import CONTROL, USER_DEFINED
from tools_shared.prompts.ends import end_of_turn_id, stop_ids

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPLITS = {
    (): "gpt-2",
    ("digits",): "smollm",
    (f"{_SHORT}|{_WORDS}|\\p{{N}}{{1,3}}|{_REST}",): "llama-bpe",
    (f"{_SHORT}|{_WORDS}|\\p{{N}}|{_REST}",): "qwen2",
}
"""What is split off before a byte-level lookup, and llama.cpp's name for it."""
WHOLE_WORDS = "llama-bpe"
"""The way of splitting with which llama.cpp looks whole words up before it merges."""
NORMAL, UNKNOWN, UNUSED, BYTE = 1, 2, 5, 6
"""Kinds of tokens in a file, beside CONTROL and USER_DEFINED."""
SPACE = "\u2581"
ENDS = ("eos", "eot", "eom")
"""A file's names for tokens that end a reply: of text, turn and message. llama.cpp stops at each."""


@dataclass(frozen=True)
class Vocabulary:
    """`kind` is llama.cpp's: gpt2 (byte-level merges) or llama (SentencePiece's, by scores)."""

    kind: str
    split: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float] | None = None
    space_first: bool = False


def vocabulary(tokenizer: PreTrainedTokenizerBase, n_rows: int) -> Vocabulary:
    """The tokens of `n_rows` embeddings, without those that the tokenizer has beyond them.

    Raises ToolError for a tokenizer that llama.cpp does not have.
    """
    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    found = inner["model"]
    if found["type"] != "BPE":
        raise ToolError(f"tokenizers of kind {found['type']} are not written as GGUF here; use --to merged")
    added = {int(number): token for number, token in tokenizer.added_tokens_decoder.items()}
    names = dict(enumerate(_names(found["vocab"], n_rows))) | {i: token.content for i, token in added.items()}
    merges = [one if isinstance(one, list) else one.split(" ") for one in found["merges"]]
    is_byte_level = any(part["type"] == "ByteLevel" for part in _parts(inner["pre_tokenizer"]))
    tokens = [names[i] for i in range(n_rows)]
    types = [_type(i, tokens[i], added, found, is_byte_level) for i in range(n_rows)]
    if is_byte_level:
        if any(" " in half for pair in merges for half in pair):
            raise ToolError("this tokenizer merges tokens with spaces in them, which a GGUF file cannot say")
        return Vocabulary("gpt2", _split(inner, found), tokens, types, [" ".join(pair) for pair in merges])
    return Vocabulary("llama", "default", tokens, types, [], _scores(tokens, merges), _space_first(inner))


def _names(vocab: Mapping[str, int], n_rows: int) -> list[str]:
    """Names by number; rows that only fill the embedding up are named for their number."""
    names = [f"[PAD{i}]" for i in range(max([n_rows, *(i + 1 for i in vocab.values())]))]
    for token, number in vocab.items():
        names[number] = token
    return names


def _type(number: int, token: str, added: Mapping[int, Any], model: Mapping[str, Any], is_byte_level: bool) -> int:
    if token == f"[PAD{number}]" and token not in model["vocab"] and number not in added:
        return UNUSED
    if number in added:
        if token == model.get("unk_token") and not is_byte_level:
            return UNKNOWN
        return CONTROL if added[number].special else USER_DEFINED
    if not is_byte_level and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return BYTE
    return NORMAL


def _parts(found: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if found is None:
        return []
    inner = found.get("pretokenizers", found.get("normalizers"))
    return [found] if inner is None else [part for one in inner for part in _parts(one)]


def _split(inner: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """llama.cpp's name for how a byte-level tokenizer splits; raises ToolError where it has none."""
    *before, last = _parts(inner["pre_tokenizer"])
    told = []
    for part in before:
        if part["type"] == "Digits" and part["individual_digits"]:
            told.append("digits")
        elif part["type"] == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
            told.append(part["pattern"].get("Regex", part["pattern"]))
        else:
            told.append(part["type"])
    name = SPLITS.get(tuple(told)) if last["type"] == "ByteLevel" and not last["add_prefix_space"] else None
    by_words = bool(told) and told[0] != "digits"
    normal = [part["type"] for part in _parts(inner["normalizer"])]
    if name is None or last["use_regex"] == by_words or normal not in ([], ["NFC"]):
        raise ToolError(
            "this tokenizer splits text by rules that llama.cpp has no name for here (known: "
            f"{', '.join(SPLITS.values())}); use --to merged and llama.cpp's own converter"
        )
    if bool(model.get("ignore_merges")) != (name == WHOLE_WORDS):
        raise ToolError(f"this tokenizer splits as {name} and looks words up otherwise than llama.cpp does there")
    return name


def _space_first(inner: Mapping[str, Any]) -> bool:
    """Whether text begins with a space that was not written; raises ToolError for other rules than SentencePiece's."""
    normal = [(p["type"], p.get("prepend"), p.get("content")) for p in _parts(inner["normalizer"])]
    before = [(p["type"], p.get("prepend_scheme"), p.get("behavior")) for p in _parts(inner["pre_tokenizer"])]
    replaced = ("Replace", None, SPACE)
    if normal == [("Prepend", SPACE, None), replaced] and not before:
        return True
    if normal == [replaced] and all(kind == "Split" and how == "MergedWithPrevious" for kind, _, how in before):
        return False
    if not normal and len(before) == 1 and before[0][0] == "Metaspace":
        return before[0][1] != "never"
    raise ToolError("this tokenizer prepares text as SentencePiece does not; use --to merged")


def _scores(tokens: list[str], merges: list[list[str]]) -> list[float]:
    """SentencePiece's scores: what is merged first has the highest."""
    ranks: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        ranks.setdefault(left + right, rank)
    return [-float(ranks.get(token, len(merges))) for token in tokens]


def write_vocabulary(
    writer: GGUFWriter, found: Vocabulary, tokenizer: PreTrainedTokenizerBase, configured: Any
) -> dict[str, int]:
    """The vocabulary and its special tokens; returns the numbers of the latter by llama.cpp's names.

    A reply ends at `eos`, `eot` or `eom`: the tokens that end the run's own replies. Raises ToolError for more of them.
    """
    writer.add_tokenizer_model(found.kind)
    writer.add_tokenizer_pre(found.split)
    writer.add_token_list(found.tokens)
    writer.add_token_types(found.types)
    if found.scores is not None:
        writer.add_token_scores(found.scores)
        writer.add_add_space_prefix(found.space_first)
    if found.merges:
        writer.add_token_merges(found.merges)
    special = special_ids(tokenizer, configured, len(found.tokens))
    for name, number in special.items():
        {
            "eos": writer.add_eos_token_id,
            "eot": writer.add_eot_token_id,
            "eom": writer.add_eom_token_id,
            "bos": writer.add_bos_token_id,
            "padding": writer.add_pad_token_id,
            "unknown": writer.add_unk_token_id,
        }[name](number)
    writer.add_add_bos_token(adds_bos(tokenizer))
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    return special


def special_ids(tokenizer: PreTrainedTokenizerBase, configured: Any, n_rows: int) -> dict[str, int]:
    """Numbers of the special tokens by their names in a file."""
    turn = end_of_turn_id(tokenizer)
    eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else turn
    ends = list(dict.fromkeys([eos, turn, *sorted(stop_ids(tokenizer, configured))]))
    if len(ends) > len(ENDS):
        words = ", ".join(tokenizer.convert_ids_to_tokens(ends))
        raise ToolError(f"replies of this model end at {words}; a GGUF file names {len(ENDS)} ends at most")
    named = dict(zip(ENDS, ends, strict=False))
    others = {"bos": tokenizer.bos_token_id, "padding": tokenizer.pad_token_id, "unknown": tokenizer.unk_token_id}
    return {name: int(number) for name, number in (named | others).items() if number is not None and number < n_rows}


def adds_bos(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer itself begins a text with its first token."""
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
