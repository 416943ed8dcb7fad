"""The options of evaluation while a model trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tools_shared.config import Config, flag_of, option
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class SelectionOptions(Config):
    """How often the model is evaluated while it trains, on what, and what follows from it."""

    PANEL: ClassVar[str] = "Evaluation"

    eval_steps: int = option(
        0,
        "Evaluate every N optimiser steps (0: only after training). One half of the held-out rows (--validation-split, "
        "else --eval-data) is for this; results are reported on the other half.",
        minimum=0,
    )
    validation_split: float | None = option(
        None,
        "Share of the training rows to hold out. Default: 0; in SFT 0.05 where no row has an answer to check.",
        minimum=0,
        maximum=0.5,
    )
    load_best: bool = option(False, "Keep the weights of the best evaluation, instead of those of the last step.")
    early_stopping_patience: int = option(
        0, "Stop after N evaluations in a row without a better one (0: never).", minimum=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("load_best", "early_stopping_patience"):
            if getattr(self, name) and not self.eval_steps:
                raise ToolError(f"{flag_of(name)} needs --eval-steps N, the steps between two evaluations")

    def identity(self) -> dict[str, Any]:
        """Runs without any of it are told apart as they were before there was any."""
        values = super().identity()
        for name in SelectionOptions.__annotations__:
            if name in values and values[name] == self.__dataclass_fields__[name].default:
                del values[name]
        return values
