"""Held-out problems, asked while the policy trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_grpo.config import GrpoConfig
from tools_shared.console import say
from tools_shared.engines import Engine
from tools_shared.errors import ToolError
from tools_shared.evaluation import evaluate, sampling_params
from tools_shared.models.load import Loaded, sampling_dtype
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.runs import Draft
from tools_shared.training.selection.figures import Figure
from tools_shared.training.selection.split import Parts, set_aside

if TYPE_CHECKING:
    from tools_grpo.trainer import LedgerTrainer


def divide(config: GrpoConfig, problems: Sequence[Problem], tests: Sequence[Problem] | None) -> Parts[Problem]:
    """The training problems without those that are held out. Raises ToolError where these have no answers to check."""
    parts = set_aside(problems, tests, config.validation_split or 0.0, config.seed, chooses=config.eval_steps > 0)
    for part in (parts.choosing, parts.reporting):
        if part and not any(problem.answer for problem in part):
            raise ToolError(
                "held-out problems without answers cannot be checked; give --eval-data with answers, or leave out "
                "--eval-steps and --validation-split"
            )
    if parts.n_held_out:
        say(f"{len(problems)} problems, {len(parts.train)} to train on, {parts.n_held_out} held out")
    return parts


@dataclass
class HeldOutProblems:
    """The evaluations of one run on its held-out problems; make it before training, `settle` it after."""

    trainer: LedgerTrainer
    run: Draft
    loaded: Loaded
    parts: Parts[Problem]
    profile: Profile
    config: GrpoConfig

    def __post_init__(self) -> None:
        from tools_shared.training.selection.watch import Watch

        self.watch: Any = None
        if self.parts.choosing:
            self.watch = Watch(self.trainer, self.run, self.loaded, self.config, "accuracy", self._by_policy)

    def _by_policy(self) -> dict[str, Figure]:
        """How many of the problems that choose are solved, sampled by what samples the rollouts."""
        policy = self.trainer.sampler.policy
        policy.renew(self.trainer)
        try:
            return self._accuracy(policy.engine, self.parts.choosing)
        finally:
            policy.rest()

    def _accuracy(self, engine: Engine, problems: Sequence[Problem]) -> dict[str, Figure]:
        label = "evaluating on held-out problems"
        engine = self.trainer.sampler.with_tools(engine)
        found = evaluate(engine, problems, self.profile, sampling_params(self.config), label)
        return {"accuracy": found.metrics["accuracy"]}

    def settle(self) -> dict[str, Any]:
        """Give the model its chosen weights; returns the manifest's figures about them. What samples the rollouts may
        not have them yet, so they are asked in this process."""
        from tools_shared.engines.local.engine import TransformersEngine
        from tools_shared.training.selection.watch import report, undisturbed
        from tools_shared.training.sharded import whole

        facts = self.watch.settle() if self.watch else {}
        if not self.parts.n_held_out:  # they are half of the test problems, of which the others are asked next
            return facts
        together = whole(self.loaded)
        dtype = sampling_dtype(self.loaded.ref, self.config.dtype, self.config.device)
        engine = TransformersEngine(together.model, together.tokenizer, dtype)
        reporting = undisturbed(lambda: self._accuracy(engine, self.parts.reporting))
        chose = {"accuracy": facts["validation_accuracy"]} if facts else {}
        return facts | report(chose, reporting)
