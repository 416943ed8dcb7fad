"""An engine is its `stream`: completions are asked for one by one, and what came out decides what is asked next.

`generate`, over lists, follows from it here, once for all engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
    n_under_way: int = 32
    """How many completions of one call of `generate` are under way."""

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
        self.draw_all(draws, params, drawn.add)
        return drawn.in_order()

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
