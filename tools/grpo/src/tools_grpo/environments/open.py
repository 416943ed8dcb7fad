"""Engines that sample episodes: for the rollouts of a run, and for its evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tools_grpo.environments.episodes import Episodes
from tools_grpo.environments.load import World
from tools_grpo.environments.running import Runner
from tools_shared.engines import Engine, open_engine, prompts_of
from tools_shared.models.load import Loaded, context_length, load_config, load_tokenizer
from tools_shared.models.resolve import ModelRef
from tools_shared.prompts import Profile
from tools_shared.records import Problem
from tools_shared.rewards import reward_rows

if TYPE_CHECKING:
    from tools_grpo.config import GrpoConfig

ToEpisodes = Callable[[Engine], Engine]


def episodes_of(
    config: GrpoConfig,
    world: World,
    ref: ModelRef,
    profile: Profile,
    rows: Sequence[dict[str, Any]],
    tests: Sequence[Problem],
) -> ToEpisodes:
    """What makes an engine sample episodes. An environment is reset with the columns of its problem as rewards see them
    (`rows`, those of training), in evaluation too."""
    limit = context_length(load_config(ref))
    shown = prompts_of(tests, load_tokenizer(ref), profile, limit, config.eval_max_new_tokens) if tests else []
    tested = reward_rows(tests, [p.text for p in shown], [p.opens_thinking for p in shown])
    known = {row["prompt"]: row for row in [*tested, *rows]}
    runner = Runner(config.tool_timeout, config.tool_result_limit)
    return lambda engine: Episodes(engine, world, profile, known, max_turns=config.max_turns, runner=runner)


def sampled_by(model: Loaded | ModelRef, config: GrpoConfig, episodes: ToEpisodes | None) -> Loaded | ModelRef | Engine:
    """What evaluation samples with: the model, or with tools an engine of episodes."""
    if episodes is None:
        return model
    if isinstance(model, ModelRef):
        return episodes(open_engine(model, config))
    from tools_shared.engines.local.engine import TransformersEngine

    return episodes(TransformersEngine(model.model, model.tokenizer))
