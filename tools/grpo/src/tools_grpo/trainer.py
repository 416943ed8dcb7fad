"""TRL's GRPOTrainer with our sampler, and with a ledger of its rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset

from tools_grpo.config import GrpoConfig
from tools_grpo.frugal import FrugalTrainer, TrlConfig
from tools_grpo.ledger import FOLDER, write_rollouts
from tools_grpo.rollouts import Sampler
from tools_shared import processes
from tools_shared.models.load import Loaded
from tools_shared.rewards import Reward
from tools_shared.runs import Draft
from tools_shared.training import RunCallback, trainer_options, without_printer

SHOWN = {
    "reward": "reward",
    "frac_reward_zero_std": "groups without spread",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "truncated",
    "kl": "kl",
    "entropy": "entropy",
    "tokens_per_second": "tokens/s",
}
"""The live line of a step: TRL's metric, and its name there."""


class LedgerTrainer(FrugalTrainer):
    """Writes every completion with its rewards and advantage to the run before it is trained on."""

    run: Draft
    sampler: Sampler

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rewards = {name: list(values) for name, values in self._logs["rewards"].items()}
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
        return output


def make_trainer(
    run: Draft,
    config: GrpoConfig,
    loaded: Loaded,
    rows: Sequence[dict[str, Any]],
    rewards: Sequence[Reward],
    sampler: Sampler,
) -> LedgerTrainer:
    """`rows` hold `prompt` (text), `answer` and `opens_thinking` of each problem."""
    args = TrlConfig(
        **trainer_options(config, run),
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
        reward_weights=[reward.weight for reward in rewards],
    )
    trainer = LedgerTrainer(
        model=loaded.model,
        args=args,
        train_dataset=Dataset.from_list(list(rows)),
        reward_funcs=list(rewards),
        processing_class=loaded.tokenizer,
        rollout_func=sampler,
        callbacks=[RunCallback(run, SHOWN)],
    )
    trainer.run, trainer.sampler = run, sampler
    return without_printer(trainer)
