"""Options of tools-grpo for environments and tools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tools_shared.config import Config, option
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class EnvironmentOptions(Config):
    """What the model can do while it is sampled, besides writing."""

    PANEL: ClassVar[str] = "Environment"
    OF_TOOLS: ClassVar[tuple[str, ...]] = ("max_turns", "tool_timeout", "tool_result_limit")

    environment: str | None = option(
        None,
        "Factory of an environment whose methods the model calls: package.module:NAME, file.py:NAME, verifiers:NAME.",
    )
    tool: tuple[str, ...] = option((), "Function that the model may call: file.py:NAME or module:NAME. Repeatable.")
    max_turns: int = option(8, "Most turns of the model in an episode.", minimum=1)
    tool_timeout: float = option(10.0, "Seconds that a call of a tool may take.", minimum=0.01)
    tool_result_limit: int = option(2000, "Characters of a result that the model is shown.", minimum=1)

    @property
    def has_tools(self) -> bool:
        return self.environment is not None or bool(self.tool)

    def check_tools(self, engine: str, backend: str) -> None:
        """Raise ToolError where what samples cannot wait for a tool between two turns."""
        if self.has_tools and (engine != "transformers" or backend != "local"):
            where = f"--engine {engine}" if engine != "transformers" else f"--backend {backend}"
            raise ToolError(
                f"{where} cannot call tools between turns; take --engine transformers and --backend local, or leave "
                "out --environment and --tool"
            )
