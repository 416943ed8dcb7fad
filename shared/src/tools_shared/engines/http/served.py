"""What a server says of its models: the name to ask for, and the prompt profile that the model was trained with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tools_shared.console import say
from tools_shared.engines.http.address import chat_url, dialect_of, read_api_key
from tools_shared.engines.http.exchange import Server, check, headers_of, read_body
from tools_shared.engines.options import EngineConfig
from tools_shared.prompts.profile import NOTES

SECONDS = 10.0
MAX_BYTES = 1 << 20
C = TypeVar("C", bound=EngineConfig)


@dataclass(frozen=True)
class Served:
    """A model on a server; `root` is the folder that its weights or adapter were loaded from, where the server says."""

    name: str
    root: str | None = None

    @property
    def notes(self) -> Path | None:
        """The file beside the weights that names their prompt profile, where this machine sees it."""
        found = Path(self.root) / NOTES if self.root else None
        return found if found is not None and found.is_file() else None


def with_served(config: C) -> C:
    """The options with the model's name and its prompt profile as the server at `--endpoint` tells them, where they
    were not given. A server that says nothing, or has several models, leaves them as they are."""
    if (
        config.endpoint is None
        or config.model_name is not None
        or getattr(config, "api", "auto") not in ("auto", "openai")
    ):
        return config
    if config.endpoint.rstrip("/").endswith("/chat"):
        return config
    found = asked_model(config.endpoint, read_api_key(config.api_key_env))
    if found is None:
        return config
    profile = config.profile or (str(found.notes) if found.notes else None)
    of = f", with the prompt profile {profile}" if profile else "; give --profile where it was trained with its own"
    say(f"model on the server: {found.name}{of}")
    return replace(config, model_name=found.name, profile=profile)


def asked_model(endpoint: str, key: str | None) -> Served | None:
    """The model that the server at an address has, as it says itself; None where it says none or several."""
    url = chat_url(endpoint)
    if dialect_of(url) == "ollama":
        return None
    return the_model(_models(Server(_listing(url), key, timeout=SECONDS, max_bytes=MAX_BYTES)))


def the_model(entries: list[Any]) -> Served | None:
    """The one model that is meant without a name: a single adapter, which vLLM lists beside its base, or a single
    model."""
    told = [entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)]
    adapters = [entry for entry in told if entry.get("parent")]
    if len(found := adapters or told) != 1:
        return None
    root = found[0].get("root")
    return Served(found[0]["id"], root if isinstance(root, str) else None)


def _models(server: Server) -> list[Any]:
    """What the server lists under /models; nothing where it does not."""
    check(server)
    import aiohttp

    try:
        data = json.loads(asyncio.run(_get(server)) or b"null")
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError):
        return []
    listed = data.get("data") if isinstance(data, Mapping) else None
    return listed if isinstance(listed, list) else []


async def _get(server: Server) -> bytes | None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=server.timeout)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers_of(server)) as session,
        session.get(server.url, allow_redirects=False) as response,
    ):
        return await read_body(response, server.max_bytes) if response.status == 200 else None


def _listing(url: str) -> str:
    """Where a server lists its models, from the address that chats are posted to."""
    address, mark, query = url.partition("?")
    return f"{address.removesuffix('/chat/completions').removesuffix('/completions')}/models{mark}{query}"
