"""The options that choose where training runs, and what a Tinker-compatible service leaves to choose."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from tools_shared.addresses import ADDRESS
from tools_shared.config import Config, flag_of, option
from tools_shared.engines import check_address
from tools_shared.errors import ToolError

OURS = ("backend", "tinker_url", "tinker_weights")

IDLE = dict.fromkeys(
    "lora_alpha lora_dropout lora_target attention liger dtype device gradient_checkpointing max_model_len "
    "tensor_parallel data_parallel gpu_memory_utilization processes".split(),
    "with --backend tinker: the service decides it",
) | {"save_steps": "with --backend tinker, which saves its state after every step"}


@dataclass(frozen=True)
class BackendOptions(Config):
    """Where a command trains."""

    PANEL: ClassVar[str] = "Backend"
    NEEDS_LOCAL: ClassVar[tuple[tuple[str, Any], ...]] = ()
    """Options of the command, beside those of every trainer, that only a local backend follows, and their defaults."""

    backend: Literal["local", "tinker"] = option(
        "local", "Train on this machine, or on a Tinker-compatible service (extra 'tinker')."
    )
    tinker_url: str | None = option(
        None,
        "Address of the service. Default: TINKER_BASE_URL (environment or .env), else Thinking Machines' own.",
        identity=False,
        secret=ADDRESS,
    )
    tinker_weights: Literal["fetch", "keep"] = option(
        "fetch",
        "fetch: bring the trained adapter here, as the run's model/; keep: leave it on the service.",
        identity=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.tinker_url)
        if self.backend == "tinker":
            self._refuse_local()

    def _refuse_local(self) -> None:
        """Raises ToolError for an option that asks for what the service does not do."""
        common = (
            ("full_finetune", False), ("load_in_4bit", False), ("adapter", "continue"), ("sharding", "none"),
            ("engine", "transformers"), ("report_to", "none"), ("processes", 1),
        )  # fmt: skip
        for name, default in (*common, *self.NEEDS_LOCAL):
            if (value := getattr(self, name)) != default:
                shown = flag_of(name) if value is True else f"{flag_of(name)} {value}"
                raise ToolError(f"{shown} is not possible with --backend tinker; leave it out, or take --backend local")
        if getattr(self, "merge", False) and self.tinker_weights == "keep":
            raise ToolError("--merge needs the adapter here; leave it or --tinker-weights keep out")

    def idle(self) -> dict[str, str]:
        found = super().idle()
        if self.backend == "local":
            return found | dict.fromkeys(OURS[1:], "with --backend local")
        names = {field.name for field in fields(self)}
        return found | {name: because for name, because in IDLE.items() if name in names}

    def identity(self) -> dict[str, Any]:
        """Runs on this machine are told apart as they were before there was another backend."""
        values = super().identity()
        if self.backend == "local":
            for name in set(OURS) & set(values):
                del values[name]
        return values
