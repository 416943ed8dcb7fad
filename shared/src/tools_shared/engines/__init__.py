"""One way to sample completions, whatever samples them: `engine.generate(prompts, params)`."""

from tools_shared.engines.open import check_engine, open_engine, open_watched
from tools_shared.engines.options import (
    EngineConfig,
    LocalEngineConfig,
    PaidConfig,
    check_address,
    check_served,
    extras_of,
)
from tools_shared.engines.stream import StreamingEngine
from tools_shared.engines.types import Completion, Draw, Engine, SamplingParams, check_fits, draw_key, prompts_of

__all__ = [
    "Completion",
    "Draw",
    "Engine",
    "EngineConfig",
    "LocalEngineConfig",
    "PaidConfig",
    "SamplingParams",
    "StreamingEngine",
    "check_address",
    "check_engine",
    "check_fits",
    "check_served",
    "draw_key",
    "extras_of",
    "open_engine",
    "open_watched",
    "prompts_of",
]
