"""Sampling the groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tools_grpo.environments.episodes import Episode
from tools_grpo.rollouts.policy import InProcess, Policy
from tools_shared.costs.meter import during
from tools_shared.engines import Completion, Engine, SamplingParams
from tools_shared.errors import Incomplete
from tools_shared.prompts import Prompt

if TYPE_CHECKING:
    from trl import GRPOTrainer

    from tools_grpo.config import GrpoConfig


class Sampler:
    """TRL's rollout function on our engine.

    Sample k of a problem at a step depends on (seed, problem, step, k) alone, so a run that is resumed samples
    what an unbroken one would; with vLLM up to its rounding, which other samples in its batch can change.
    """

    def __init__(
        self,
        prompts: dict[str, tuple[str, Prompt]],
        config: GrpoConfig,
        policy: Policy | None = None,
        episodes: Callable[[Engine], Engine] | None = None,
    ) -> None:
        """`prompts` maps a prompt's text to its problem's id and its tokens; `policy` is who samples (default: the
        trained model itself); `episodes` makes its engine one that samples with tools."""
        self.episodes = episodes
        self.prompts, self.config, self.policy = prompts, config, policy or InProcess()
        self.last: list[Completion] = []
        self.held: list[Completion] | None = None
        self.on_group: Callable[[int, list[Completion]], None] | None = None
        self.policy_step = 0

    @property
    def corrects(self) -> bool:
        """Whether completions are weighted for having been sampled in other numbers than are trained."""
        return self.policy.differs and self.config.corrects

    def with_tools(self, engine: Engine) -> Engine:
        """The engine, with the tools of --environment and --tool between turns where the run has some."""
        return engine if self.episodes is None else self.episodes(engine)

    def __call__(self, texts: Sequence[str], trainer: GRPOTrainer) -> dict[str, Any]:
        """Completions for `texts`, in which each prompt occurs once for every completion of its group: those of
        `held`, which were sampled for this step ahead of TRL, or new ones."""
        self.policy_step = trainer.state.global_step
        self.last = self.held or self.draw(texts, self.policy_step, self.on_group)
        self.held = None
        self.policy.rest()
        begun = [_begun(completion, self.prompts[text][1]) for text, completion in zip(texts, self.last, strict=True)]
        masks = [list(one.mask) for one in self.last if isinstance(one, Episode)]
        return {
            **({"env_mask": masks} if masks else {}),
            "prompt_ids": [list(prompt.token_ids) for prompt in begun],
            "completion_ids": [list(completion.token_ids) for completion in self.last],
            "logprobs": [list(completion.logprobs) for completion in self.last] if self.corrects else None,
        }

    def draw(
        self, texts: Sequence[str], step: int, on_group: Callable[[int, list[Completion]], None] | None = None
    ) -> list[Completion]:
        """One completion for each text; equal neighbours are a group and share the reading of their prompt. `step`
        numbers the samples; the weights are those of the policy's last renewal. `on_group` is told of each group by its
        number as soon as it is there."""
        groups = [text for i, text in enumerate(texts) if i % self.config.num_generations == 0]
        with during("rollouts"):
            drawn = self.with_tools(self.policy.engine).generate(
                [self.prompts[text][1] for text in groups],
                self.params(),
                keys=[f"{self.prompts[text][0]}@{step}" for text in groups],
                on_done=on_group,
            )
        completions = [completion for group in drawn for completion in group]
        if not all(map(math.isfinite, (value for completion in completions for value in completion.logprobs))):
            raise Incomplete(
                f"the policy's probabilities are not finite numbers after step {step}; start over with --resume never "
                f"and a lower --learning-rate than {self.config.learning_rate:g}"
            )
        return completions

    def params(self) -> SamplingParams:
        c = self.config
        return SamplingParams(
            temperature=c.temperature,
            max_new_tokens=c.max_completion_length,
            n=c.num_generations,
            top_p=c.top_p,
            top_k=c.top_k,
            seed=c.seed,
            logprobs=True,
        )


def _begun(completion: Completion, prompt: Prompt) -> Prompt:
    """The prompt of a completion: that of its problem, with what its environment added."""
    return (completion.prompt or prompt) if isinstance(completion, Episode) else prompt
