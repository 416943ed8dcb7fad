"""Drawing without a fixed list: completions are asked for one by one, and what came out decides what is asked next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tools_shared.prompts import Prompt

if TYPE_CHECKING:
    from tools_shared.engines.types import Completion, Engine, SamplingParams


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Draw:
    """One completion to be sampled: sample number `sample` of the prompt that `key` names. `index` is the caller's own.

    `is_wanted` is asked while it is sampled: a sample that is wanted no more may be dropped, and `on_draw` is not told.
    """

    prompt: Prompt
    key: str
    sample: int = 0
    index: int = 0
    is_wanted: Callable[[], bool] = _always


Take = Callable[[], Draw | None]
"""Asked whenever there is room for one more; None means that there is nothing now, which a later result may change."""
OnDraw = Callable[[Draw, "Completion"], None]
"""Told of each completion as soon as it is there, in no particular order."""


class ByPrompt:
    """Completions of one call of `Engine.generate` as they come in; `on_done` as there, `samples` of each prompt.

    A sample that never came is a bug of the engine's, and a KeyError.
    """

    def __init__(self, n_prompts: int, samples: range, on_done: Callable[[int, list[Completion]], None] | None) -> None:
        self.samples, self.on_done = samples, on_done
        self.found: list[dict[int, Completion]] = [{} for _ in range(n_prompts)]

    def add(self, index: int, sample: int, completion: Completion) -> None:
        self.found[index][sample] = completion
        if self.on_done is not None and len(self.found[index]) == len(self.samples):
            self.on_done(index, self._of(index))

    def in_order(self) -> list[list[Completion]]:
        """Those of each prompt, in the order of their numbers."""
        return [self._of(index) for index in range(len(self.found))]

    def _of(self, index: int) -> list[Completion]:
        return [self.found[index][sample] for sample in self.samples]


def all_by_stream(
    engine: Engine,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    names: Sequence[str],
    first_sample: int,
    on_done: Callable[[int, list[Completion]], None] | None,
    n_slots: int,
) -> list[list[Completion]]:
    """`Engine.generate` of an engine that streams: every sample of every prompt, `n_slots` under way."""
    samples = range(first_sample, first_sample + params.n)
    drawn = ByPrompt(len(prompts), samples, on_done)
    draws = (Draw(prompt, names[i], k, i) for i, prompt in enumerate(prompts) for k in samples)

    def note(draw: Draw, completion: Completion) -> None:
        drawn.add(draw.index, draw.sample, completion)

    engine.stream(lambda: next(draws, None), params, note, n_slots)
    return drawn.in_order()


def in_waves(engine: Engine, take: Take, params: SamplingParams, on_draw: OnDraw) -> None:
    """`Engine.stream` for engines that take whole lists: all that can be sampled now, then what its results call for.

    `generate` numbers the samples of one call alike, so a wave is one call for each sample number in it.
    """
    while wave := list(iter(take, None)):
        for sample in sorted({draw.sample for draw in wave}):
            draws = [draw for draw in wave if draw.sample == sample]
            engine.generate(
                [draw.prompt for draw in draws],
                replace(params, n=1),
                keys=[draw.key for draw in draws],
                first_sample=sample,
                on_done=lambda i, completions, draws=draws: on_draw(draws[i], completions[0]),
            )
