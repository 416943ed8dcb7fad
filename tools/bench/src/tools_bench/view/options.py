"""Options of `tools-bench view`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tools_shared.config import Config, option


@dataclass(frozen=True)
class ViewConfig(Config):
    """Show the runs below a folder in a browser."""

    TOOL: ClassVar[str] = "bench"
    PANEL: ClassVar[str] = "Server"
    READS_ROWS: ClassVar[bool] = False

    root: str = option("", "Folder that holds the runs.", panel="Run")
    host: str = option(
        "127.0.0.1",
        "Address to listen on. Any other than this machine's own needs the token in the address that is printed.",
    )
    port: int = option(8090, "Port to listen on; 0 is any free one.", minimum=0, maximum=65535)
    allowed_host: tuple[str, ...] = option(
        (), "Host name that requests may use, besides localhost and IP addresses; '*': any. Repeatable."
    )
    interval: float = option(2.0, "Seconds between two looks at the folder.", minimum=0.1, panel="Run")
