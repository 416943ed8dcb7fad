"""The options of every command that evaluates, and the problems that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tools_shared.config import option, source_option
from tools_shared.console import say
from tools_shared.engines import (
    LocalEngineConfig,
    SamplingParams,
    check_engine,
)
from tools_shared.records import Conversation, Problem
from tools_shared.sources import Collected, allowance, read_problems

DEMO_TEST = "demo://problems?split=test&size=512&seed=1"
"""Seed 1: the demo's settings were chosen by looking at the questions of seed 0."""


@dataclass(frozen=True)
class EvalConfig(LocalEngineConfig):
    """The options of every command that evaluates."""

    PANEL: ClassVar[str] = "Evaluation"

    eval_data: tuple[str, ...] = source_option(
        DEMO_TEST, "Test problems: any source.", aliases=("eval_file", "eval_path")
    )
    eval_samples: int | None = option(
        None, "Use the first N test problems. Default: all.", env="EVAL_SAMPLES", minimum=1
    )
    eval_max_new_tokens: int = option(512, "Longest completion in evaluation, in tokens.", minimum=1)
    eval_temperature: float = option(0.0, "Sampling temperature in evaluation; 0 is greedy.", minimum=0)
    question_key: str | None = option(None, "Field that holds the question; dots reach into objects.", panel="Data")
    answer_key: str | None = option(None, "Field that holds the answer; dots reach into objects.", panel="Data")
    max_rejected: str = option(allowance.DEFAULT, allowance.HELP, identity=False, panel="Data")
    seed: int = option(0, "Seed of everything that is sampled.", minimum=0, maximum=2**32 - 1, panel="Run")

    def __post_init__(self) -> None:
        super().__post_init__()
        allowance.allowed_of(self.max_rejected, 1)


def read_test_problems(config: EvalConfig) -> Collected[Problem]:
    """The problems to evaluate on, with a line on the screen about rows that are lost. Raises ToolError when there is
    none that can be used, when more are lost than allowed, or the engine is not there."""
    check_engine(config.engine)
    found = read_problems(
        config.eval_data, question_key=config.question_key, answer_key=config.answer_key, limit=config.eval_samples
    )
    where = ", ".join(config.eval_data)
    allowance.settle(where, found.n_read, found.rejected, allowance.unreadable(found.items), config.max_rejected)
    return found


def tests_beside(config: EvalConfig, rows: Sequence[Problem | Conversation], instead: str) -> Collected[Problem] | None:
    """The problems to evaluate on of a run that trains on `rows`; None, with a line that says so and `instead`, where
    none of these has an answer to check and no test problems were given: the demo's would tell nothing of them."""
    if config.eval_data != (DEMO_TEST,) or any(isinstance(row, Problem) and row.answer for row in rows):
        return read_test_problems(config)
    say(
        "note: no training row has an answer that can be checked, so accuracy is not measured; --eval-data names "
        f"problems for it{instead}"
    )
    return None


def sampling_params(config: EvalConfig) -> SamplingParams:
    return SamplingParams(config.eval_temperature, config.eval_max_new_tokens, seed=config.seed)
