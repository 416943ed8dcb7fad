"""An engine is its `stream`: completions are asked for one by one, and what came out decides what is asked next.

`generate`, over lists, follows from it here, once for all engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tools_shared.costs.meter import HERE, note
from tools_shared.engines.types import Completion, Draw, OnDraw, SamplingParams, Take, check_fits
from tools_shared.prompts import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tools_shared.pruning.watch import Watcher


class StreamingEngine(ABC):
    """The `Engine` that a class with `stream` is."""

    tokenizer: PreTrainedTokenizerBase | None
    context_length: int | None
    watcher: Watcher | None = None
    """The rules of `--prune`, for samples with `SamplingParams.prune`."""
    sampled_in: str | None = None
    n_under_way: int = 32
    """How many completions of one call of `generate` are under way."""
    source: str = HERE
    """Who computes the tokens, as a run's cost names it: this machine, or a server's address and model."""

    @abstractmethod
    def stream(self, take: Take, params: SamplingParams, on_draw: OnDraw, n_slots: int = 32) -> None:
        """See `Engine.stream`."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        keys: Sequence[str] | None = None,
        first_sample: int = 0,
        on_done: Callable[[int, list[Completion]], None] | None = None,
    ) -> list[list[Completion]]:
        """See `Engine.generate`."""
        names = keys if keys is not None else [str(i) for i in range(len(prompts))]
        check_fits(prompts, names, self.context_length, params.max_new_tokens)
        samples = range(first_sample, first_sample + params.n)
        drawn = _ByPrompt(len(prompts), samples, on_done)
        draws = [Draw(prompt, names[i], k, i) for i, prompt in enumerate(prompts) for k in samples]
        if params.prune and self.watcher is not None and self.watcher.by_turns:
            draws.sort(key=lambda draw: draw.sample)

        def on_draw(draw: Draw, completion: Completion) -> None:
            self.count(draw, completion, is_first=draw.sample == first_sample)
            drawn.add(draw, completion)

        self.draw_all(draws, params, on_draw)
        return drawn.in_order()

    def count(self, draw: Draw, completion: Completion, is_first: bool = True) -> None:
        """Count the tokens of a completion among the run's costs; the samples of a prompt share the reading of it."""
        n_prompt = len(draw.prompt.token_ids) if is_first else 0
        note(n_prompt, completion.n_tokens or 0, source=self.source)

    def draw_all(self, draws: Sequence[Draw], params: SamplingParams, on_draw: OnDraw) -> None:
        """Draw all of these, which are known to fit; engines that do better knowing all of them override it."""
        rest = iter(draws)
        self.stream(lambda: next(rest, None), params, on_draw, self.n_under_way)


class _ByPrompt:
    """Completions of one call of `generate` as they come in; `on_done` as there, `samples` of each prompt.

    A sample that never came is a bug of the engine's, and a KeyError.
    """

    def __init__(self, n_prompts: int, samples: range, on_done: Callable[[int, list[Completion]], None] | None) -> None:
        self.samples, self.on_done = samples, on_done
        self.found: list[dict[int, Completion]] = [{} for _ in range(n_prompts)]

    def add(self, draw: Draw, completion: Completion) -> None:
        found = self.found[draw.index]
        found[draw.sample] = completion
        if self.on_done is not None and len(found) == len(self.samples):
            self.on_done(draw.index, self._of(draw.index))

    def in_order(self) -> list[list[Completion]]:
        """Those of each prompt, in the order of their numbers."""
        return [self._of(index) for index in range(len(self.found))]

    def _of(self, index: int) -> list[Completion]:
        return [self.found[index][sample] for sample in self.samples]
