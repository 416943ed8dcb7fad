"""The batch of each GRPO step: groups sampled on the service, judged here, and written down before they are used.

A step whose rollouts were written before the run was interrupted is not sampled again: they were paid for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from tools_grpo.config import GrpoConfig
from tools_grpo.ledgers.prompts import FILE, PromptLedger
from tools_grpo.ledgers.rollouts import FOLDER, forget_after, step_path, write_rollouts
from tools_grpo.remote.advantages import advantages_of, token_shares
from tools_grpo.rollouts.dynamic_sampling import Filler
from tools_grpo.rollouts.judge import Judge, has_spread, nothing
from tools_grpo.rollouts.sampler import Sampler
from tools_shared.engines import Completion, Engine
from tools_shared.prompts import Prompt
from tools_shared.runs import Draft
from tools_shared.training.backends import Backend, Loss, TokenRow
from tools_shared.training.preview import n_steps
from tools_shared.training.steps import Batch


class BackendPolicy:
    """Who samples: the backend, with the weights as they are."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    @property
    def engine(self) -> Engine:
        return self.backend.engine()

    def rest(self) -> None:
        """Nothing is held between two calls."""


class GroupBatches:
    """Makes the batch of each step."""

    def __init__(
        self,
        run: Draft,
        config: GrpoConfig,
        backend: Backend,
        prompts: Mapping[str, tuple[str, Prompt]],
        rows: Sequence[dict[str, Any]],
        judge: Judge,
    ) -> None:
        """`prompts` maps a prompt's text to its problem's id and its tokens; `rows` are the problems' training rows."""
        self.config, self.rows, self.judge, self.folder = config, rows, judge, run.path / FOLDER
        self.sampler = Sampler(dict(prompts), config, BackendPolicy(backend))
        self.ledger = PromptLedger(run.path / FILE, config, backend.step)
        self.filler = Filler(config, rows, self.sampler, self.ledger, judge)
        self.state = SimpleNamespace(global_step=backend.step)
        self.per_epoch = len(rows) // config.prompts_per_step
        self.n_steps = n_steps(self.per_epoch, 1, config.epochs, config.max_steps)
        forget_after(self.folder, backend.step + 1)

    def __call__(self, done: int) -> Batch:
        self.state.global_step = done
        there = self._written(step_path(self.folder, done))
        return self._batch(there if there is not None else self._sampled(done), done)

    def _score(self, rows: Sequence[dict[str, Any]], completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        context = {"trainer_state": self.state, "log_extra": nothing, "log_metric": nothing}
        return self.judge.scores(rows, completions, **context)

    def _sampled(self, done: int) -> list[dict[str, Any]]:
        """Sample, judge and write down the groups of a step; its rows as they are in the file."""
        epoch, place = divmod(done, self.per_epoch)
        order = list(range(len(self.rows)))
        Random(f"{self.config.seed}:{epoch}").shuffle(order)
        size, n = self.config.prompts_per_step, self.config.num_generations
        planned = [self.rows[i] for i in order[place * size : (place + 1) * size]]
        filled = self.filler.fill([row for row in planned for _ in range(n)], done, self._score)
        totals = [self.judge.total(values) for values in filled.scores]
        self.sampler.last, self.sampler.policy_step = filled.completions, done
        names = [reward.name for reward in self.judge.rewards]
        write_rollouts(
            self.folder,
            done,
            self.sampler,
            [row["prompt"] for row in filled.rows],
            dict(zip(names, map(list, zip(*filled.scores, strict=True)), strict=True)),
            [reward.weight for reward in self.judge.rewards],
            advantages_of(totals, n, self.config.scale_rewards),
        )
        for group in filled.given_up:
            self._count([group.row] * len(group.completions), group.completions, group.scores)
        return self._written(step_path(self.folder, done))

    def _written(self, path: Path) -> list[dict[str, Any]] | None:
        """The rollouts of a step that are on the disk; None where there are none."""
        if not path.exists():
            return None
        with path.open(encoding="utf-8") as file:  # not splitlines: JSON does not escape U+2028 in a completion
            return [json.loads(line) for line in file]

    def _batch(self, rollouts: Sequence[dict[str, Any]], done: int) -> Batch:
        by_prompt = {row["prompt"]: row for row in self.rows}
        training_rows = [by_prompt[one["prompt"]] for one in rollouts]
        completions = [Completion.from_json({"text": one["completion"], **one}) for one in rollouts]
        scores = [tuple(math.nan if v is None else v for v in one["rewards"].values()) for one in rollouts]
        self._count(training_rows, completions, scores)
        is_counted = [not (self.config.mask_truncated and one.finish_reason == "length") for one in completions]
        shares = token_shares([len(one.token_ids) for one in completions], is_counted, self.config)
        rows = [
            self._row(one["prompt"], completion, (one["advantage"] or 0.0) * share)
            for one, completion, share in zip(rollouts, completions, shares, strict=True)
        ]
        high = self.config.epsilon if self.config.epsilon_high is None else self.config.epsilon_high
        loss = Loss("ppo", 1 - self.config.epsilon, 1 + high)
        return Batch(rows, loss, self._figures(rollouts, completions, scores))

    def _row(self, text: str, completion: Completion, weight: float) -> TokenRow:
        prompt = self.sampler.prompts[text][1].token_ids
        before = [0.0] * (len(prompt) - 1)  # what the prompt's own tokens predict of it
        n = len(completion.token_ids)
        return TokenRow((*prompt, *completion.token_ids), (*before, *[weight] * n), (*before, *completion.logprobs))

    def _count(
        self,
        rows: Sequence[dict[str, Any]],
        completions: Sequence[Completion],
        scores: Sequence[Sequence[float]],
    ) -> None:
        solved = self.judge.solved(rows, completions, scores)
        problems = [self.sampler.prompts[row["prompt"]][0] for row in rows]
        self.ledger.add(self.state.global_step, zip(problems, solved, strict=True))

    def _figures(
        self, rollouts: Sequence[dict[str, Any]], completions: Sequence[Completion], scores: Sequence[Sequence[float]]
    ) -> dict[str, float]:
        """What is logged of a step, under TRL's names."""
        totals = [self.judge.total(values) for values in scores]
        n = self.config.num_generations
        groups = [totals[i : i + n] for i in range(0, len(totals), n)]
        known = [total for total in totals if not math.isnan(total)] or [math.nan]
        lengths = [len(one.token_ids) for one in completions]
        return {
            "reward": fmean(known),
            "frac_reward_zero_std": fmean(not has_spread(group) for group in groups),
            "completions/mean_length": fmean(lengths),
            "completions/clipped_ratio": fmean(one.finish_reason == "length" for one in completions),
            "sampled_tokens": sum(lengths),
            **self.judge.facts(),
        }
