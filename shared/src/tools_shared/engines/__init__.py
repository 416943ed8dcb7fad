"""One way to sample completions, whatever samples them: `engine.generate(prompts, params)`."""

from tools_shared.engines.types import (
    Completion,
    Engine,
    EngineConfig,
    LocalEngineConfig,
    SamplingParams,
    check_address,
    check_engine,
    check_served,
    open_engine,
)

__all__ = [
    "Completion",
    "Engine",
    "EngineConfig",
    "LocalEngineConfig",
    "SamplingParams",
    "check_address",
    "check_engine",
    "check_served",
    "open_engine",
]
