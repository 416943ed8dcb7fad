"""GRPO: rewards are checked first, then TRL's trainer runs on our sampler, then the same questions as before, paired.

One step, for a reader of TRL's GRPOTrainer, with the file of each part:

1. `trainer` asks the policy for the current weights (`rollouts.policy`: in this process, vLLM beside it, or a server).
2. `rollouts.sampler` samples `--num-generations` completions of each prompt; sample k of prompt p at step s depends on
   the seed and (s, p, k) alone. With `--dynamic-sampling`, `rollouts.dynamic_sampling` replaces zero-variance groups.
3. TRL calls the rewards of `tools_shared.rewards` and takes from each its group's mean: the advantages.
4. `ledgers.rollouts` writes every completion with its rewards and advantage before it is trained on; `ledgers.prompts`
   counts how often each problem was solved.
5. `losses.shared_prefix` computes log-probabilities, each prompt read once a group (`tools_shared.training.packing`),
   and gives them to TRL's own loss; `losses.importance_sampling` weights what another engine sampled.
6. The optimiser steps, `--updates-per-rollout` times on the same rollouts; `tools_shared.training` logs, guards
   against runs that learn nothing, and seals checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_grpo.config import GrpoConfig
from tools_grpo.environments.calls import described
from tools_grpo.environments.load import load_world
from tools_grpo.environments.open import ToEpisodes, episodes_of, sampled_by
from tools_grpo.environments.rewards import split_rewards
from tools_grpo.ledgers.rollouts import FOLDER, forget_after
from tools_grpo.reports.memory import expected_memory, less_memory, vllm_memory
from tools_grpo.rollouts.held_out import HeldOutProblems, divide
from tools_grpo.rollouts.sampler import Sampler
from tools_shared import processes
from tools_shared.cli import Invocation
from tools_shared.console import say
from tools_shared.engines import Engine, check_engine, prompts_of
from tools_shared.errors import ToolError
from tools_shared.evaluation import evaluate_in_run, read_csv, tests_beside
from tools_shared.models import choose_profile
from tools_shared.models.load import Loaded, context_length, load_config, load_tokenizer
from tools_shared.models.resolve import ModelRef
from tools_shared.processes.stopping import StopRequest
from tools_shared.prompts import Profile, Prompt
from tools_shared.records import Problem
from tools_shared.rewards import Mode, Reward, check_rewards, check_row, load_rewards, reward_rows
from tools_shared.runs import Draft, default_output_dir, draft, finished
from tools_shared.runs.read import Manifest
from tools_shared.sources import Collected, read_problems
from tools_shared.stats import paired_difference
from tools_shared.training.selection.split import Parts
from tools_shared.training.tinker.base import base_for, base_sha256
from tools_shared.training.trainable import check_trainable, load_trainable

if TYPE_CHECKING:
    from tools_grpo.trainer import LedgerTrainer


@dataclass(frozen=True)
class Prepared:
    """Everything that a user can have got wrong in data, rewards and options, found right before weights are loaded."""

    ref: ModelRef
    profile: Profile
    problems: Collected
    prompts: list[Prompt]
    tests: Collected | None
    rewards: Sequence[Reward]
    rows: list[dict[str, Any]]
    parts: Parts[Problem]
    longest: int
    """Tokens of the longest prompt and completion that are sampled while it trains."""
    episodes: ToEpisodes | None = None
    """What makes an engine one that samples with the tools of --environment and --tool; None without them."""
    own_profile: Profile | None = None
    """`profile` without its description of the tools: what the run keeps."""

    @property
    def kept_profile(self) -> Profile:
        return self.own_profile or self.profile


def prepare(config: GrpoConfig) -> Prepared:
    processes.passes(config.prompts_per_step, 1, "prompts", config.processes)  # a group stays on one process
    processes.passes(config.n_completions, config.batch_size, "completions", config.processes)
    ref = base_for(config.base_model, config.backend).ref
    if config.backend == "local":
        check_trainable(ref, config)
    profile = choose_profile(ref, config.profile)
    world = load_world(config.environment, config.tool)
    named, own = split_rewards(config.reward, world)
    rewards = load_rewards(named, profile, length_limit=config.max_completion_length) if named else []
    problems = read_problems(
        config.data,
        question_key=config.question_key,
        answer_key=config.answer_key,
        limit=config.train_samples,
        needs_answer=any(reward.needs_answer for reward in rewards),
        check=partial(check_row, rewards),
    )
    tests = tests_beside(config, problems.items, "") if config.eval else None
    parts = divide(config, problems.items, tests and tests.items)
    problems = replace(problems, items=parts.train)
    check_engine(config.engine)
    kept = profile
    if world is not None:
        profile = described(load_tokenizer(ref), profile, world.schemas)
    prompts = _prompts(ref, profile, problems.items, config)
    longest = max(len(prompt.token_ids) for prompt in prompts) + config.max_completion_length
    if asked := _held_out_prompts(ref, profile, parts.choosing, config.eval_max_new_tokens):
        longest = max(longest, max(len(prompt.token_ids) for prompt in asked) + config.eval_max_new_tokens)
    rows = reward_rows(problems.items, [p.text for p in prompts], [p.opens_thinking for p in prompts])
    if rewards and (mode := _check_mode(config.reward_check, config.dry_run, rewards)) != "off":
        check = check_rewards(rewards, problems.items, profile, mode=mode, rows=rows)
        say("\n".join([str(check), *check.warnings]))
    others = [*(parts.tests or []), *parts.choosing, *parts.reporting]
    episodes = world and episodes_of(config, world, ref, profile, rows, others)
    return Prepared(
        ref,
        profile,
        problems,
        prompts,
        tests,
        [*rewards, *own],
        rows,
        parts,
        longest,
        episodes=episodes,
        own_profile=kept,
    )


def _check_mode(asked: Mode | None, dry_run: bool, rewards: Sequence[Reward]) -> Mode:
    """What the gold answers alone decide is refused where it is odd; of opinions it is said. A dry run asks nobody."""
    if dry_run and any(reward.is_slow for reward in rewards):
        say("the rewards are not tried in a dry run, as they call other programs")
        return "off"
    return asked or ("strict" if all(reward.is_verifiable for reward in rewards) else "warn")


def train(config: GrpoConfig, invocation: Invocation) -> Manifest:
    """Train here, save and evaluate; returns the finished run's manifest. On a service: `tools_grpo.remote.train`.

    Raises Incomplete where a signal, a guard or a full disk ended it: the same call resumes.
    """
    if config.backend != "local":
        raise ToolError(f"--backend {config.backend}: call tools_grpo.remote.train.train_remotely")
    processes.join(config.device, config.sharding)
    with StopRequest().listening() as stop:
        output_dir = Path(config.output_dir or default_output_dir("grpo"))
        if done := finished(output_dir, config):
            return done
        given = prepare(config)
        with draft(output_dir, config, invocation, "grpo") as run:
            note_inputs(run, config.backend, given)
            return _train_and_evaluate(run, config, given, stop)


def note_inputs(run: Draft, backend: str, given: Prepared) -> None:
    ref, problems, tests = given.ref, given.problems, given.tests
    sha256 = base_sha256(ref, backend)
    run.add_input("base_model", ref.spec, sha256, run_sha256=ref.run and ref.run.sha256)
    run.add_sources("train", problems, n_used=len(problems.items))
    for reward in given.rewards:
        for name, path, sha256 in reward.inputs():
            run.add_input(name, path, sha256)
    run.reject([*problems.rejected, *(tests.rejected if tests else [])])
    if tests:
        run.add_sources("eval", tests)


def _train_and_evaluate(run: Draft, config: GrpoConfig, given: Prepared, stop: StopRequest) -> Manifest:
    from tools_shared.training.outcome import merged

    tests, profile = given.parts.tests, given.profile
    before = _correct_before(run, config, given, tests) if tests else []
    loaded, metrics = _fit(run, config, given, stop)
    if tests:
        metrics |= compare(run, config, sampled_by(loaded, config, given.episodes), profile, tests, before)
    if config.merge:
        metrics |= merged(run, loaded, given.kept_profile, metrics)
    return run.finish(metrics, seed=config.seed, profile=profile.name)


def _prompts(ref: ModelRef, profile: Profile, problems: Sequence[Problem], config: GrpoConfig) -> list[Prompt]:
    """The prompt of each problem; raises ToolError for one too long, and when one step needs more than there are."""
    if len(problems) < config.prompts_per_step:
        raise ToolError(
            f"{config.data}: {len(problems)} problems are fewer than --prompts-per-step "
            f"{config.prompts_per_step}; lower it or give more rows"
        )
    tokenizer = load_tokenizer(ref)
    return prompts_of(problems, tokenizer, profile, context_length(load_config(ref)), config.max_completion_length)


def _held_out_prompts(ref: ModelRef, profile: Profile, problems: Sequence[Problem], new_tokens: int) -> list[Prompt]:
    """Raises ToolError for one too long."""
    context = context_length(load_config(ref))
    return prompts_of(problems, load_tokenizer(ref), profile, context, new_tokens) if problems else []


def _correct_before(run: Draft, config: GrpoConfig, given: Prepared, tests: Sequence[Problem]) -> list[bool]:
    """Which test problems the base model solves; read back when a run that was interrupted has found out already."""
    path = run.debug_path("_before.csv")
    if not processes.share(path.exists()):
        model = sampled_by(given.ref, config, given.episodes)
        return [one.correct for one in evaluate_in_run(run, model, tests, given.profile, config, "_before").graded]
    found = [row["correct"] == "True" for row in read_csv(path)] if processes.is_main() else []
    return processes.share(found)


def _fit(run: Draft, config: GrpoConfig, given: Prepared, stop: StopRequest) -> tuple[Loaded, dict[str, Any]]:
    """The trained model, saved in the draft, and what training said about itself."""
    import torch

    from tools_grpo.rollouts.judge import training_rows
    from tools_grpo.rollouts.policy import open_policy, rollouts_in
    from tools_grpo.trainer import make_trainer
    from tools_shared.training.checkpoints import resume_point, step_of
    from tools_shared.training.guards import NoSpread, NotANumber, Truncated
    from tools_shared.training.loop import fit, resumable
    from tools_shared.training.outcome import Start, saved

    memory = expected_memory(config, given.ref, given.prompts)
    for line in [*([memory] if memory else []), *vllm_memory(config)]:
        say(str(line))
    torch.manual_seed(config.seed)
    guards = [
        NotANumber(config.learning_rate),
        Truncated(config.max_truncated, config.guard_steps),  # first: truncated completions often have no variance
        NoSpread(config.guard_steps),
    ]
    for reward in given.rewards:
        reward.attach(run.path)
    with resumable(run, less_memory(config.batch_size, config.n_completions)):
        loaded = load_trainable(given.ref, config)
        checkpoint = resume_point(run)
        if processes.is_main():
            forget_after(run.path / FOLDER, step_of(checkpoint))
        with open_policy(run, loaded, config, given.longest) as policy:
            sampler = Sampler(prompts_by_text(given), config, policy, given.episodes)
            trainer = make_trainer(run, config, loaded, given.rows, given.rewards, sampler, step_of(checkpoint))
            start = Start(loaded.model)
            checks = HeldOutProblems(trainer, run, loaded, given.parts, given.profile, config)
            if checkpoint is None:
                policy.renew(trainer)
                if processes.is_main():
                    _show_spread(
                        trainer,
                        training_rows(given.rows)[: config.prompts_per_step],
                        config.num_generations,
                        config.prompts_per_step,
                    )
            fit(trainer, run, checkpoint, stop, guards, config.updates_per_rollout)
            held_out = checks.settle()
        history = trainer.state.log_history
        is_used = given.parts.tests is not None
        loaded, learned = saved(run, loaded, given.kept_profile, config, start, history, is_used=is_used)
    figures = {"rollouts_in": rollouts_in(given.ref, config), **reward_figures(history), **held_out}
    return loaded, {"n_train": len(given.rows), "steps": trainer.state.global_step, **figures, **learned}


def prompts_by_text(given: Prepared) -> dict[str, tuple[str, Prompt]]:
    """A prompt's text to its problem's id and its tokens."""
    return {p.text: (problem.id, p) for p, problem in zip(given.prompts, given.problems.items, strict=True)}


def reward_figures(history: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """The reward of the first logged step, and its mean over the last tenth of them."""
    logged = [entry["reward"] for entry in history if "reward" in entry]
    tail = logged[-max(1, len(logged) // 10) :]
    return {
        "first_reward": logged[0] if logged else None,
        "last_reward": sum(tail) / len(tail) if tail else None,
    }


def _show_spread(
    trainer: LedgerTrainer, rows: Sequence[dict[str, Any]], num_generations: int, prompts_per_step: int
) -> None:
    """Sample one batch and print its reward variance: groups whose completions all score the same teach nothing."""
    from statistics import fmean, pstdev

    from tools_grpo.rollouts.judge import has_spread, nothing

    n = num_generations
    first = [row for row in rows for _ in range(n)]
    completions = trainer.sampler.draw([row["prompt"] for row in first], -1, trainer.judges_ahead(rows))
    context = {"trainer_state": trainer.state, "log_extra": nothing, "log_metric": nothing}
    totals = [trainer.judge.total(values) for values in trainer.judge.scores(first, completions, **context)]
    flat = sum(not has_spread(totals[i : i + n]) for i in range(0, len(totals), n))
    known = [total for total in totals if not math.isnan(total)] or [0.0]
    say(
        f"first batch: reward {fmean(known):.3f}, standard deviation {pstdev(known):.3f}, "
        f"{flat} of {prompts_per_step} groups have zero variance"
    )
    for line in trainer.judge.first_batch(first, completions):
        say(line)
    if asked := {name: n for name, n in trainer.judge.facts().items() if name.startswith("judge/") and n}:
        say("judging before the first step: " + ", ".join(f"{name[6:]} {n:.6g}" for name, n in asked.items()))
    if flat == prompts_per_step:
        say("every group has zero variance: the model solves all of these problems or none; such steps teach nothing")


def compare(
    run: Draft,
    config: GrpoConfig,
    trained: Loaded | Engine,
    profile: Profile,
    tests: Sequence[Problem],
    before: list[bool],
) -> dict[str, Any]:
    """The rates after training, and the paired difference of strict accuracy to before."""
    evaluation = evaluate_in_run(run, trained, tests, profile, config)
    after = [graded.correct for graded in evaluation.graded]
    gain = paired_difference(before, after)
    say(
        f"strict accuracy before {100 * sum(before) / len(before):.1f} %, after {100 * sum(after) / len(after):.1f} %: "
        f"difference {100 * gain.difference:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], n={gain.n}"
    )
    return evaluation.metrics | {
        "accuracy_before": sum(before) / len(before),
        "accuracy_gain": {"difference": gain.difference, "low": gain.low, "high": gain.high, "n": gain.n},
    }
