"""`scorer:RUN?at=WHERE`: the step probabilities that a run of `tools-scorer train` gives a completion, as a reward.

In place of RUN, `model:PATH` names a whole model, such as a process reward model.

A probe is trained on what a model writes before it is paid for pleasing the probe. What it then learns may please it
without being right, so it is to be weighed against a reward that sees the answer (`verified`), and watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tools_shared.console import say
from tools_shared.errors import ToolError
from tools_shared.prompts import Profile
from tools_shared.rewards.hacking import HackingWatch
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores
from tools_shared.scorers.scorer import TraceScore

if TYPE_CHECKING:
    from tools_shared.scorers.models import ModelScorer
    from tools_shared.scorers.text import TextScorer

PLACES = tuple(place.name for place in fields(TraceScore))
"""How a completion's steps become one number: their `mean` (the default), the `last`, the lowest (`min`), or an
exponential moving average (`ema`)."""


@dataclass(frozen=True)
class ScorerReward(Reward):
    """Between 0 and 1, one number a completion; None where the scorer can read no step in it. The model that the
    scorer was trained to read with is loaded beside the one that is trained."""

    source: str = field(default="")
    at: str = "mean"
    profile: Profile | None = None

    is_slow: ClassVar[bool] = True

    @classmethod
    def load(cls, text: str, weight: float, profile: Profile) -> ScorerReward:
        """`text` is `RUN` or `RUN?at=WHERE`. Raises ToolError where there is no scorer, and for a WHERE that is none of
        PLACES."""
        source, asks, option = text.partition("?")
        name, _, at = option.partition("=")
        if asks and (name != "at" or at not in PLACES):
            raise ToolError(f"--reward scorer:{text}: '?{option}' is unknown; write ?at=WHERE with {', '.join(PLACES)}")
        from tools_shared.scorers.text import scorer_weights

        scorer_weights(source)
        return cls(f"scorer:{text}", weight, source, at or "mean", profile)

    def __reduce__(self) -> tuple[Any, ...]:
        return ScorerReward, (self.name, self.weight, self.source, self.at, self.profile)

    @cached_property
    def _reader(self) -> TextScorer | ModelScorer:
        from tools_shared.scorers.text import open_text_scorer

        return open_text_scorer(self.source)

    @cached_property
    def _watch(self) -> HackingWatch:
        return HackingWatch(self.name, self.profile)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        from tools_shared.scorers.responses import TextResponse

        questions = columns.get("question") or [str(prompt) for prompt in prompts]
        texts = [completion_text(completion) for completion in completions]
        found = self._reader.score([TextResponse(q, text) for q, text in zip(questions, texts, strict=True)])
        scores = [getattr(scored.score, self.at) if scored.score else None for scored in found]
        self._watch.note(scores, completions, columns)
        return scores

    def signs(self) -> dict[str, float]:
        """See `HackingWatch.signs`."""
        return self._watch.signs()

    def inputs(self) -> list[tuple[str, str, str]]:
        from tools_shared.scorers.text import scorer_weights

        return [("scorer", *scorer_weights(self.source))]

    def attach(self, folder: Path) -> None:
        """Say what such a reward is worth."""
        say(
            f"{self.name}: a probe of hidden states can be hacked: its reward may rise while accuracy does not; give a "
            "reward that sees the answer too (verified), and compare accuracy before and after"
        )
