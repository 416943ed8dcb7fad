"""Options of `tools-bench serve-chat`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tools_shared.addresses import ADDRESS, VARIABLE
from tools_shared.config import Config, option
from tools_shared.engines import check_address
from tools_shared.errors import ToolError


@dataclass(frozen=True)
class ServeChatConfig(Config):
    """Answer a tutor's requests from a model on a server."""

    TOOL: ClassVar[str] = "bench"
    PANEL: ClassVar[str] = "Server"
    READS_ROWS: ClassVar[bool] = False

    endpoint: str = option(
        "http://localhost:8000/v1",
        "OpenAI-compatible server of the model (`make serve`).",
        secret=ADDRESS,
    )
    model_name: str | None = option(None, "Name of the model on that server. Default: the one that it serves.")
    profile: str | None = option(
        None,
        "Prompt profile: gsm8k-tags, think, boxed, or a YAML file. Default: what the server's model was trained with, "
        "else gsm8k-tags.",
        panel="Model",
    )
    api_key_env: str | None = option(
        None, "Environment variable with that server's key; the key itself is never written.", secret=VARIABLE
    )
    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(8080, "Port to listen on; 0 is any free one.", minimum=0, maximum=65535)
    allowed_host: tuple[str, ...] = option(
        (), "Host name that requests may use, besides localhost and IP addresses; '*': any. Repeatable."
    )
    max_new_tokens: int = option(1024, "Longest reply, in tokens.", minimum=1, panel="Sampling")
    temperature: float = option(0.0, "Sampling temperature; 0 is greedy.", minimum=0, panel="Sampling")
    timeout: float = option(120.0, "Time limit of one reply, in seconds.", minimum=0.01)
    max_body_kb: float = option(64.0, "Largest request body.", minimum=0.1)
    concurrency: int = option(64, "Most requests that are answered at a time; more are refused (503).", minimum=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_address(self.endpoint)
        if self.endpoint.rstrip("/").endswith("/chat"):
            raise ToolError("--endpoint is the model's own server (http://localhost:8000/v1), not a tutor's /chat")
