"""`scorer:RUN`: the mean step probability that a run of `tools-scorer train` gives a completion, as a reward.

A probe is trained on what a model writes before it is paid for pleasing the probe. What it then learns may please it
without being right, so it is to be weighed against a reward that sees the answer (`verified`), and watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tools_shared.console import say
from tools_shared.files import sha256_file
from tools_shared.rewards.inputs import Completion, completion_text
from tools_shared.rewards.named import Reward, Scores
from tools_shared.scorers.scorer import WEIGHTS, find_scorer

if TYPE_CHECKING:
    from tools_shared.scorers.text import TextScorer


@dataclass(frozen=True)
class ScorerReward(Reward):
    """Between 0 and 1, at the end of a completion; None where the scorer can read no step in it. The model that the
    scorer was trained to read with is loaded beside the one that is trained."""

    source: str = field(default="")

    is_slow: ClassVar[bool] = True

    @classmethod
    def load(cls, source: str, weight: float) -> ScorerReward:
        """Raises ToolError where there is no scorer."""
        find_scorer(source)
        return cls(f"scorer:{source}", weight, source)

    def __reduce__(self) -> tuple[Any, ...]:
        return ScorerReward, (self.name, self.weight, self.source)

    @cached_property
    def _reader(self) -> TextScorer:
        from tools_shared.scorers.text import open_text_scorer

        return open_text_scorer(self.source)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> Scores:
        from tools_shared.scorers.text import TextResponse

        questions = columns.get("question") or [str(prompt) for prompt in prompts]
        texts = [completion_text(completion) for completion in completions]
        found = self._reader.score([TextResponse(q, text) for q, text in zip(questions, texts, strict=True)])
        return [scored.score.mean if scored.score else None for scored in found]

    def inputs(self) -> list[tuple[str, str, str]]:
        path = find_scorer(self.source) / WEIGHTS
        return [("scorer", str(path), sha256_file(path))]

    def attach(self, folder: Path) -> None:
        """Say what such a reward is worth."""
        say(
            f"{self.name}: a probe of hidden states can be hacked: its reward may rise while accuracy does not; give a "
            "reward that sees the answer too (verified), and compare accuracy before and after"
        )
