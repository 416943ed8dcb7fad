"""`model:PATH`: the score of a reward model (a sequence classifier with one output) here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tools_shared.errors import ToolError
from tools_shared.prompts import Profile
from tools_shared.rewards.hacking import HackingWatch
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores

if TYPE_CHECKING:
    from tools_shared.scorers.models import RewardModel


@dataclass(frozen=True)
class ModelReward(Reward):
    """The model reads the question and the reply through its own chat template, where it has one. Its score is given as
    it is, without bounds; None for a reply that is longer than the model's context."""

    source: str = field(default="")
    profile: Profile | None = None

    is_slow: ClassVar[bool] = True

    def __reduce__(self) -> tuple[Any, ...]:
        return ModelReward, (self.name, self.weight, self.source, self.profile)

    @cached_property
    def _watch(self) -> HackingWatch:
        return HackingWatch(self.name, self.profile)

    @cached_property
    def _model(self) -> RewardModel:
        from tools_shared.scorers.models import RewardModel, open_model_scorer

        scorer = open_model_scorer(self.source)
        if not isinstance(scorer, RewardModel):
            raise ToolError(
                f"--reward {self.name}: a {scorer.architecture} is no reward model; give a sequence classifier with "
                "one output"
            )
        return scorer

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        from tools_shared.scorers.responses import TextResponse

        questions = columns.get("question") or [str(prompt) for prompt in prompts]
        texts = [completion_text(completion) for completion in completions]
        scores = self._model.raw([TextResponse(q, text) for q, text in zip(questions, texts, strict=True)])
        self._watch.note(scores, completions, columns)
        return scores

    def signs(self) -> dict[str, float]:
        """See `HackingWatch.signs`."""
        return self._watch.signs()
