"""How sure a judge is: the probabilities of yes that its own tokens have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tools_shared.engines import Completion


@dataclass(frozen=True)
class StatedVerdict:
    """What the judge said: `{"score": float}`, `{criterion: bool}` or `{"better": "A"}`. `stated` are the probabilities
    of yes that its own tokens have, by criterion, where they are known."""

    said: dict[str, Any]
    stated: Mapping[str, float] = field(default_factory=dict)


def stated(tokens: Sequence[str], logprobs: Sequence[float], said: Mapping[str, Any]) -> dict[str, float]:
    """The probability of yes for each yes/no of a verdict, by name: that of the tokens that its value is written with,
    or 1 less that for a no. `tokens` (N) are the reply's, with the `logprobs` (N) of each; names whose value is not
    found in them are left out."""
    text, found = "".join(tokens), {}
    ends, end = [], 0
    for token in tokens:
        end += len(token)
        ends.append(end)
    for name, value in said.items():
        if not isinstance(value, bool):
            continue
        places = list(re.finditer(rf'"{re.escape(name)}"\s*:\s*"?\s*([A-Za-z]+)', text))
        if not places or len(ends) != len(logprobs):
            continue
        first, last = places[-1].span(1)
        inside = [p for e, t, p in zip(ends, tokens, logprobs, strict=True) if e > first and e - len(t) < last]
        likely = math.exp(min(0.0, math.fsum(inside)))
        found[name] = likely if value else 1 - likely
    return found


def token_texts(tokenizer: PreTrainedTokenizerBase | None, completion: Completion) -> list[str]:
    """Each token's part of a completion's text, special tokens without any; empty where no tokenizer is here."""
    if tokenizer is None:
        return []
    texts, before = [], ""
    for n in range(1, len(completion.token_ids) + 1):
        now = tokenizer.decode(list(completion.token_ids[:n]), skip_special_tokens=True)
        texts.append(now[len(before) :])
        before = now
    return texts


def read_logprobs(data: Any) -> tuple[list[str], list[float]]:
    """Tokens and log-probabilities of a chat reply (`choices[0].logprobs.content`); empty where it has none."""
    try:
        content = data["choices"][0]["logprobs"]["content"]
        return [str(one["token"]) for one in content], [float(one["logprob"]) for one in content]
    except (KeyError, IndexError, TypeError, ValueError):
        return [], []
