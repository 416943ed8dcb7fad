"""Sampling from weights on a Tinker-compatible service."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from tools_shared.costs.meter import note
from tools_shared.engines import Completion, Draw, SamplingParams, check_fits
from tools_shared.engines.types import OnDraw, Take
from tools_shared.errors import ToolError
from tools_shared.prompts import Prompt
from tools_shared.prompts.ends import text_of
from tools_shared.training.tinker.service import told

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TinkerEngine:
    """See `Engine`. One request a prompt, with as many samples as are asked for; its seed depends on (seed, key, first
    sample) alone. Whether the same seed samples the same is up to the service."""

    sampled_in: str | None = None

    def __init__(
        self,
        client: Any,
        url: str,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        context_length: int | None,
        source: str,
    ) -> None:
        """`client` is the SDK's sampling client; `ends` are the tokens that end a completion; `source` is what a run's
        cost calls the service."""
        self.client, self.url, self.ends, self.source = client, url, ends, source
        self.tokenizer, self.context_length = tokenizer, context_length

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        if params.min_p:
            raise ToolError("min_p cannot be asked of a Tinker service; leave it out")
        names = list(map(str, range(len(prompts)))) if keys is None else keys
        check_fits(prompts, names, self.context_length, params.max_new_tokens)
        found = []
        with told(self.url):
            waiting = [
                self._ask(prompt, params, name, first_sample) for prompt, name in zip(prompts, names, strict=True)
            ]
            for i, future in enumerate(waiting):
                found.append([self._completion(sequence, params) for sequence in future.result().sequences])
                note(len(prompts[i].token_ids), sum(len(c.token_ids) for c in found[-1]), source=self.source)
                if on_done is not None:
                    on_done(i, found[-1])
        return found

    def _ask(self, prompt: Prompt, params: SamplingParams, name: str, first_sample: int) -> Any:
        from tinker import types

        seed = int.from_bytes(hashlib.sha256(f"{params.seed}|{name}|{first_sample}".encode()).digest()[:4], "big") >> 1
        return self.client.sample(
            prompt=types.ModelInput.from_ints(list(prompt.token_ids)),
            num_samples=params.n,
            sampling_params=types.SamplingParams(
                max_tokens=params.max_new_tokens,
                seed=seed,
                stop=sorted(self.ends),
                temperature=params.temperature,
                top_p=params.top_p,
                top_k=params.top_k or -1,
            ),
        )

    def _completion(self, sequence: Any, params: SamplingParams) -> Completion:
        token_ids = tuple(sequence.tokens)
        ended = bool(token_ids) and token_ids[-1] in self.ends
        return Completion(
            text_of(self.tokenizer, token_ids, self.ends),
            token_ids,
            "stop" if ended or sequence.stop_reason == "stop" else "length",
            tuple(sequence.logprobs) if params.logprobs and sequence.logprobs is not None else None,
        )

    def count(self, draw: Draw, completion: Completion, is_first: bool = True) -> None:
        """See `Engine`."""
        note(len(draw.prompt.token_ids) if is_first else 0, len(completion.token_ids), source=self.source)

    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        one = replace(params, n=1)
        with told(self.url):
            while wave := list(islice(iter(take, None), n_slots)):
                waiting = [self._ask(draw.prompt, one, draw.key, draw.sample) for draw in wave]
                for draw, future in zip(wave, waiting, strict=True):
                    on_draw(draw, self._completion(future.result().sequences[0], params))
