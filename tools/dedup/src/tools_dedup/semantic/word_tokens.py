"""Tokens of texts from those of their words, where that gives the same: each different word is tokenised once.

A BPE tokenizer without splitting beforehand (Llama's and its kind) merges over a whole text, which is most of the time
of static embeddings. Where no token of it goes on past a blank, no merge does either, and a text's tokens are those of
its words one after another.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BLANK = "\u2581"
_NORMALIZER = f'Sequence(normalizers=[Prepend(prepend="{_BLANK}"), Replace(pattern=String(" "), content="{_BLANK}")])'
_PAST_A_BLANK = re.compile(f"[^{_BLANK}\n]{_BLANK}")
_WORD = re.compile(" +[^ ]+")
_MOST_ADDED = 8
_MOST_KNOWN = 1 << 16


class WordTokens:
    """Token ids of texts, without special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._by_word = _is_word_by_word(tokenizer)
        self._apart = [_BLANK, *(added.content for added in tokenizer.get_added_tokens_decoder().values())]
        self._known: dict[str, list[int]] = {}

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text."""
        if not self._by_word:
            return self._tokenised(texts)
        words = [None if self._is_apart(text) else _WORD.findall(f" {text}") for text in texts]
        whole = iter(self._tokenised([text for text, found in zip(texts, words, strict=True) if found is None]))
        known = self._words_known({word for found in words if found for word in found})
        return [
            next(whole) if found is None else list(chain.from_iterable(map(known.__getitem__, found)))
            for found in words
        ]

    def _is_apart(self, text: str) -> bool:
        """Whether a text must be tokenised as a whole: with a blank at its end, or a sign or token of the tokenizer's
        own in it."""
        return text.endswith(" ") or any(sign in text for sign in self._apart)

    def _words_known(self, wanted: set[str]) -> dict[str, list[int]]:
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        new = list(wanted.difference(self._known))
        self._known.update(zip(new, self._tokenised([word[1:] for word in new]), strict=True))
        return self._known

    def _tokenised(self, texts: Sequence[str]) -> list[list[int]]:
        return [found.ids for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _is_word_by_word(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer is such a one: blanks become a sign, one is put in front, and no token crosses one."""
    from tokenizers.models import BPE

    model = tokenizer.model
    return (
        isinstance(model, BPE)
        and model.dropout is None
        and not model.ignore_merges
        and tokenizer.pre_tokenizer is None
        and repr(tokenizer.normalizer) == _NORMALIZER
        and len(tokenizer.get_added_tokens_decoder()) <= _MOST_ADDED
        and not _PAST_A_BLANK.search("\n".join(tokenizer.get_vocab(with_added_tokens=False)))
    )
