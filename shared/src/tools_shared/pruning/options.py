"""The option of every command that prunes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tools_shared.config import Config, option
from tools_shared.errors import ToolError
from tools_shared.pruning.rules import Rules, parse_rules


@dataclass(frozen=True)
class PruneConfig(Config):
    """The option of every command that prunes."""

    PANEL: ClassVar[str] = "Sampling"

    prune: tuple[str, ...] = option(
        (),
        "Stop traces early: step:SCORER<P, budget:BYTES, confidence:W<C or agree:P (docs/pruning.md). Repeatable.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.prune_rules

    @property
    def prune_rules(self) -> Rules | None:
        """None without --prune; raises ToolError for what is no rule."""
        return parse_rules(self.prune) if self.prune else None


def check_prunes(rules: Rules | None, engine: str) -> None:
    """Raises ToolError for an engine that cannot stop a trace by them."""
    if rules is not None and engine not in ("transformers", "vllm"):
        raise ToolError(f"--prune: works with --engine transformers and vllm, not {engine}")
