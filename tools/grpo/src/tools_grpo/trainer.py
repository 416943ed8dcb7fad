"""TRL's GRPOTrainer with our sampler, and with a ledger of its rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import torch
from accelerate.utils import gather
from datasets import Dataset

from tools_grpo.config import GrpoConfig
from tools_grpo.environments.episodes import Episode
from tools_grpo.ledgers.prompts import FILE, PromptLedger
from tools_grpo.ledgers.rollouts import FOLDER, write_rollouts
from tools_grpo.losses.shared_prefix import SharedPrefixTrainer, TrlConfig
from tools_grpo.rollouts.dynamic_sampling import Filled, Filler
from tools_grpo.rollouts.judge import Judge, has_spread, nothing, training_rows
from tools_grpo.rollouts.sampler import Sampler
from tools_shared import processes
from tools_shared.engines import Completion
from tools_shared.models.load import Loaded
from tools_shared.rewards import Reward
from tools_shared.runs import Draft
from tools_shared.training.callbacks import RunCallback, without_printer
from tools_shared.training.schedule import Scheduled
from tools_shared.training.trainer import prepare_accelerate, trainer_options

SHOWN = {
    "reward": "reward",
    "frac_reward_zero_std": "zero-variance groups",
    "groups/given_up": "given up",
    "groups/skipped": "skipped",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
    "kl": "kl",
    "entropy": "entropy",
    "tokens_per_second": "tokens/s",
    "tools/call_frequency": "calls",
    "tools/failure_frequency": "failed calls",
    "judge/n_asked": "judged",
    "judge/n_failed": "not judged",
    "judge/money": "cost",
}
"""The live line of a step: TRL's metric, and its name there."""


class LedgerTrainer(Scheduled, SharedPrefixTrainer):
    """Writes every completion with its rewards and advantage to the run before it is trained on."""

    run: Draft
    sampler: Sampler
    judge: Judge
    ledger: PromptLedger
    filler: Filler | None
    filled: Filled | None = None

    def score(
        self,
        rows: Sequence[dict[str, Any]],
        completions: Sequence[Completion],
        log_extra: Callable[..., None] = nothing,
    ) -> list[tuple[float, ...]]:
        """See `Judge.scores`. What rewards log for TRL's table of completions is left out, but for those that are
        trained on: it has no room for others."""
        context = {"trainer_state": self.state, "log_extra": log_extra, "log_metric": self._log_metric}
        return self.judge.scores(rows, completions, **context)

    def judges_ahead(self, rows: Sequence[dict[str, Any]]) -> Callable[[int, list[Completion]], None] | None:
        """What has each group of `rows` judged while the next is sampled; None where no reward takes long."""
        if not self.judge.ahead:
            return None
        context = {"trainer_state": self.state, "log_extra": nothing, "log_metric": self._log_metric}
        return lambda i, completions: self.judge.start([rows[i]] * len(completions), completions, **context)

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        """See TRL's: rewards (B of all processes, n_rewards). Groups that were chosen by them have theirs already."""
        scores = (
            self.filled.scores if self.filled else self.score(inputs, self.sampler.last, self._log_completion_extra)
        )
        return gather(torch.tensor(scores, dtype=torch.float32, device=self.accelerator.device))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self.sampler.policy.renew(self)
        if self.filler is not None:
            self.filled = self.filler.fill(inputs, self.state.global_step, self.score)
            inputs, self.sampler.held = self.filled.rows, self.filled.completions
        self.sampler.on_group = self.judges_ahead(inputs[:: self.num_generations])
        output = super()._generate_and_score_completions(inputs)
        self._note_choice()
        self._note_calls()
        for name, value in self.judge.facts().items():
            self._metrics["train"][name].append(value)
        rewards = {name: list(values) for name, values in self._logs["rewards"].items()}
        self._note_spread(rewards)
        texts = [example["prompt"] for example in inputs]
        write_rollouts(
            self.run.path / FOLDER,
            self.state.global_step,
            self.sampler,
            texts,
            rewards,
            self.reward_weights.tolist(),
            list(self._logs["advantages"]),
        )
        self._count(inputs, rewards)
        return output

    def _note_spread(self, rewards: dict[str, list[float]]) -> None:
        """Log the share of zero-variance groups. TRL's own looks at the batch alone with `--scale-rewards batch`, and
        misses groups of equal rewards whose standard deviation float32 rounds to a value above 0."""
        totals = [self.judge.total(values) for values in zip(*rewards.values(), strict=True)]
        groups = [totals[i : i + self.num_generations] for i in range(0, len(totals), self.num_generations)]
        self._metrics["train"]["frac_reward_zero_std"][-1] = fmean(not has_spread(group) for group in groups)

    def _note_calls(self) -> None:
        """Log turns and calls of tools a completion, and the share of calls that failed."""
        turns = [one.turns for one in self.sampler.last if isinstance(one, Episode)]
        if not turns:
            return
        calls = [call for one in turns for turn in one for call in turn.calls]
        mine = [len(turns), sum(map(len, turns)), len(calls), sum(call.is_error for call in calls)]
        n, n_turns, n_calls, n_errors = map(sum, zip(*processes.gather(mine), strict=True))
        metrics = self._metrics["train"]
        metrics["tools/turns"].append(n_turns / n)
        metrics["tools/call_frequency"].append(n_calls / n)
        metrics["tools/failure_frequency"].append(n_errors / n_calls if n_calls else 0.0)

    def _note_choice(self) -> None:
        """Log how many groups of this step were sampled, given up for zero variance, and skipped by their pass rate."""
        if self.filled is None:
            return
        n_given_up = len(self.filled.given_up)
        mine = [len(self.filled.groups) + n_given_up, n_given_up, self.filled.n_skipped]
        sums = map(sum, zip(*processes.gather(mine), strict=True))
        for name, n in zip(("drawn", "given_up", "skipped"), sums, strict=True):
            self._metrics["train"][f"groups/{name}"].append(n)

    def _count(self, rows: Sequence[dict[str, Any]], rewards: dict[str, list[float]]) -> None:
        """Note in the prompt ledger which completions passed: these, and those that were given up for them.

        `rewards` are those of all processes, in the order of the ranks.
        """
        mine = slice(processes.rank() * len(rows), (processes.rank() + 1) * len(rows))
        scores = list(zip(*(column[mine] for column in rewards.values()), strict=True))
        attempts = self._attempts(rows, self.sampler.last, scores)
        for group in self.filled.given_up if self.filled else []:
            attempts += self._attempts([group.row] * len(group.completions), group.completions, group.scores)
        self.ledger.add(self.state.global_step, attempts)

    def _attempts(
        self,
        rows: Sequence[dict[str, Any]],
        completions: Sequence[Completion],
        scores: Sequence[Sequence[float]],
    ) -> list[tuple[str, bool]]:
        problems = [self.sampler.prompts[row["prompt"]][0] for row in rows]
        return list(zip(problems, self.judge.solved(rows, completions, scores), strict=True))


def make_trainer(
    run: Draft,
    config: GrpoConfig,
    loaded: Loaded,
    rows: Sequence[dict[str, Any]],
    rewards: Sequence[Reward],
    sampler: Sampler,
    step: int = 0,
) -> LedgerTrainer:
    """`rows` are what rewards see of each problem (`reward_rows`); `step` is where training resumes."""
    in_order = training_rows(rows)
    options = trainer_options(config, run)
    # Rollouts are in no checkpoint: one is written where the next step samples new ones.
    options["save_steps"] += -options["save_steps"] % config.updates_per_rollout
    args = TrlConfig(
        **options,
        num_iterations=config.updates_per_rollout,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=processes.passes(config.n_completions, config.batch_size, "completions"),
        num_generations=config.num_generations,
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        beta=config.beta,
        epsilon=config.epsilon,
        epsilon_high=config.epsilon_high,
        loss_type=config.loss,
        importance_sampling_level=config.importance_sampling,
        scale_rewards=config.scale_rewards,
        mask_truncated_completions=config.mask_truncated,
        vllm_importance_sampling_correction=sampler.corrects,
        **({"vllm_importance_sampling_mode": config.vllm_importance_sampling} if sampler.corrects else {}),
        reward_weights=[reward.weight for reward in rewards],
    )
    prepare_accelerate(args)
    trainer = LedgerTrainer(
        model=loaded.model,
        args=args,
        train_dataset=Dataset.from_list(in_order),
        reward_funcs=list(rewards),
        processing_class=loaded.tokenizer,
        rollout_func=sampler,
        callbacks=[RunCallback(run, SHOWN)],
    )
    trainer.run, trainer.sampler, trainer.judge = run, sampler, Judge(rewards, rows)
    trainer.ledger = PromptLedger(run.path / FILE, config, step)
    trainer.filler = Filler(config, in_order, sampler, trainer.ledger, trainer.judge) if config.chooses_groups else None
    if trainer.filler is not None:
        trainer.filler.ahead = trainer.judges_ahead
    return without_printer(trainer)
