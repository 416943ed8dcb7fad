"""What a server does that no rate shows, and that would be taken for the model's doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tools_bench.requests.journal import Response
from tools_shared.engines import SamplingParams

FEWEST = 5
"""Items, or replies, that have to be alike before it is no accident."""


def oddities(responses: Sequence[Response], params: SamplingParams) -> Iterator[str]:
    """A line for each thing that looks like the server's doing: empty replies, requests that a filter refused, samples
    that are all alike, replies that were cut without a word of it."""
    answered = [response for response in responses if response.error is None]
    why = Counter(r.message for r in answered if r.message and not r.text.strip() and not r.refusal)
    if why:
        reason, n = why.most_common(1)[0]
        most = "" if n == why.total() else f" in {n} of them"
        yield f"{why.total()} of {len(responses)} replies are empty{most}: {reason}"
    if withheld := [r for r in answered if r.message and r.refusal and not r.text.strip()]:
        yield (
            f"{len(withheld)} of {len(responses)} requests were refused by a content filter and count as refusals; "
            f"the first: {withheld[0].message}"
        )
    if params.n > 1 and params.temperature > 0 and _all_alike(answered, params.n):
        yield (
            f"all {params.n} samples of every item are alike at temperature {params.temperature:g}: the server ignores "
            "temperature and seed, or repeats its replies; pass@k and majority@k say nothing"
        )
    full = [r for r in answered if r.tokens_out is not None and r.tokens_out >= params.max_new_tokens]
    if len(full) >= FEWEST and all(r.finish_reason == "stop" for r in full):
        yield (
            f"{len(full)} replies have {params.max_new_tokens} tokens or more, and the server says of none that it was "
            "cut: it does not tell, or does not keep to --max-new-tokens; the truncated proportion is too low"
        )


def _all_alike(answered: Sequence[Response], n: int) -> bool:
    """Whether every item that has all its samples has one text; False for too few items to say."""
    texts: dict[tuple[str, str], list[str]] = {}
    for response in answered:
        texts.setdefault((response.task, response.id), []).append(response.text)
    whole = [found for found in texts.values() if len(found) == n]
    return len(whole) >= FEWEST and all(len(set(found)) == 1 for found in whole)
