"""The options of every command that samples, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tools_shared.addresses import ADDRESS, BODY, VARIABLE
from tools_shared.config import option
from tools_shared.config.environment import value_of
from tools_shared.costs.prices import PRICE_FILE, Prices
from tools_shared.costs.spending import prices_for
from tools_shared.errors import ToolError
from tools_shared.models import ModelConfig

if TYPE_CHECKING:
    from tools_shared.engines.http.chat import Extras


@dataclass(frozen=True)
class LocalEngineConfig(ModelConfig):
    """The options of every command that samples from a local model."""

    PANEL: ClassVar[str] = "Model"

    engine: Literal["transformers", "vllm"] = option("transformers", "Engine that samples completions.", identity=False)
    tensor_parallel: int = option(
        1, "GPUs per copy of the model, for --engine vllm (untested beyond 1).", minimum=1, identity=False
    )
    data_parallel: int = option(
        1, "Copies of the model, for --engine vllm (untested beyond 1).", minimum=1, identity=False
    )
    max_model_len: int | None = option(
        None,
        "Longest prompt and completion together, in tokens, for --engine vllm. Default: the model's own.",
        minimum=16,
        identity=False,
    )
    gpu_memory_utilization: float = option(
        0.9, "Share of GPU memory for --engine vllm.", minimum=0.05, maximum=1.0, identity=False
    )


@dataclass(frozen=True)
class EngineConfig(LocalEngineConfig):
    """The options of every command that samples, from a local model or a server."""

    PANEL: ClassVar[str] = "Server"

    engine: Literal["transformers", "vllm", "http"] = option(  # type: ignore[assignment]  # one choice more
        "transformers", "Engine that samples completions (http: the server at --endpoint).", identity=False
    )
    endpoint: str | None = option(
        None,
        "Address of an OpenAI-compatible server (http://host:8000/v1), for --engine http.",
        identity=False,
        secret=ADDRESS,
    )
    model_name: str | None = option(None, "Name of the model on that server.")
    api_key_env: str | None = option(
        None,
        "Environment variable with the server's key; the key itself is never written.",
        identity=False,
        secret=VARIABLE,
    )
    timeout: float = option(300.0, "Timeout of one request, in seconds.", minimum=0.01, identity=False)
    max_retries: int = option(4, "Retries of a request after a transient failure.", minimum=0, identity=False)
    rate_limit: float | None = option(None, "Most requests per second.", minimum=0.001, identity=False)
    stop: tuple[str, ...] = option((), "Stop sequence of the server's replies; \\n is a line end. Repeatable.")
    extra_body: str | None = option(
        None,
        "JSON object merged into every request body, such as '{\"top_k\": 20}'; it overrides the tool's own keys.",
        secret=BODY,
    )
    drop: tuple[str, ...] = option((), "Key to leave out of every request, for servers that reject it. Repeatable.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.endpoint)
        if self.endpoint is None and (self.stop or self.extra_body is not None or self.drop):
            raise ToolError("--stop, --extra-body and --drop are about requests to a server; give --endpoint too")
        extras_of(self)


@dataclass(frozen=True)
class PaidConfig(EngineConfig):
    """The options of every command whose requests may be paid for one by one."""

    PANEL: ClassVar[str] = "Server"

    price_in: float | None = option(
        None, "Price of a million prompt tokens. Default: that of $TOOLS_PRICES.", minimum=0, identity=False
    )
    price_out: float | None = option(
        None, "Price of a million completion tokens. Default: that of $TOOLS_PRICES.", minimum=0, identity=False
    )
    budget: float | None = option(None, "Stop before spending more than this (exit 3).", minimum=0, identity=False)
    cache: bool = option(
        True, "Reuse earlier replies of this endpoint and model name (.cache beside the run).", identity=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        priced = self.price_in is not None or self.price_out is not None
        if self.budget is not None and not priced and value_of(PRICE_FILE) is None:
            raise ToolError(
                f"--budget is reckoned from prices; give --price-in and --price-out too, or a price file ({PRICE_FILE})"
            )

    def prices(self, server: str, model: str) -> Prices:
        """What requests to a server's model cost, as far as it is known; raises ToolError for a budget without."""
        return prices_for(server, model, self.price_in, self.price_out, self.budget)


def check_served(config: EngineConfig) -> None:
    """Raises ToolError unless --engine http and --endpoint are given both or neither, for commands where --engine says
    which of a model that is here and a server it is."""
    if config.engine == "http" and config.endpoint is None:
        raise ToolError("--engine http needs --endpoint, such as http://localhost:8000/v1")
    if config.engine != "http" and config.endpoint is not None:
        raise ToolError(f"--endpoint {config.shown('endpoint')}: has an effect with --engine http only; add it")


def extras_of(config: EngineConfig) -> Extras:
    """What the options add to every request; raises ToolError for what cannot be added."""
    from tools_shared.engines.http.chat import Extras

    return Extras.parse(config.stop, config.extra_body, config.drop)


def check_address(endpoint: str | None) -> None:
    """Raises ToolError for a server's address that is none, or that would bring a password into the run's files."""
    if endpoint is not None:
        from tools_shared.engines.http.address import address_parts

        address_parts(endpoint)
