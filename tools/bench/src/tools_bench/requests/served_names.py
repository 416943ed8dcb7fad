"""Which models a server has, so that a run needs no --model-name where there is only one."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tools_bench.config import BenchConfig
from tools_bench.requests.plan import api_of, server_of
from tools_shared.console import say
from tools_shared.engines.http.exchange import Server, headers_of
from tools_shared.errors import ToolError

SECONDS = 10.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected request would take the key elsewhere."""

    def redirect_request(self, *args: Any) -> None:
        return None


def named(config: BenchConfig) -> BenchConfig:
    """With the name of the one model that the server has, where --model-name is missing and --endpoint is there.

    A tutor's or a template's API has no such list: its address is the name. Raises ToolError where there are several
    models, or the server tells none.
    """
    if config.endpoint is None or config.model_name is not None:
        return config
    if api_of(config).name != "openai":
        return replace(config, model_name=urlsplit(config.endpoint).netloc.replace(":", "_"))
    server = server_of(config)
    names = served_models(server)
    if len(names) == 1:
        say(f"--model-name {names[0]}: the one model at {server.shown}")
        return replace(config, model_name=names[0])
    told = f"it has {', '.join(names)}" if names else "the server does not tell which models it has"
    raise ToolError(f"--model-name is missing: it names the results, and the model on the server ({told})")


def served_models(server: Server) -> list[str]:
    """The names that `/v1/models`, or Ollama's `/api/tags`, gives; none where the server does not answer."""
    request = urllib.request.Request(models_url(server.url), headers=headers_of(server))  # noqa: S310 - checked before
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS) as response:
            found = json.loads(response.read(server.max_bytes))
    except (OSError, HTTPException, ValueError, RecursionError):
        return []
    listed = found.get("data", found.get("models")) if isinstance(found, Mapping) else None
    rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    names = [row.get("id", row.get("name")) for row in rows]
    return [name for name in names if isinstance(name, str) and name]


def models_url(url: str) -> str:
    """Where the server of a chat address lists its models."""
    parts = urlsplit(url)
    if parts.path.endswith("/api/chat"):
        return urlunsplit(parts._replace(path=f"{parts.path.removesuffix('/chat')}/tags"))
    base = parts.path.removesuffix("/completions").removesuffix("/chat")
    return urlunsplit(parts._replace(path=f"{base}/models"))
