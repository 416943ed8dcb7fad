"""What a server says of its models: the name to ask for, and the prompt profile that the model was trained with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tools_shared.console import say
from tools_shared.engines.http.address import chat_url, read_api_key
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

    @property
    def elsewhere(self) -> str:
        """What to say where the server loaded a folder that this machine does not see."""
        if self.root is None or not Path(self.root).is_absolute() or Path(self.root).exists():
            return ""
        return (
            f" (of {self.root}, which is not on this machine: without --profile RUN/model/{NOTES} it is asked with the "
            "default profile)"
        )


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
    of = f", with the prompt profile of {profile}" if profile is not None else found.elsewhere
    say(f"--model-name {found.name}: the one model at {config.shown('endpoint')}{of}")
    return replace(config, model_name=found.name, profile=profile)


def asked_model(endpoint: str, key: str | None) -> Served | None:
    """The model that the server at an address has, as it says itself; None where it says none or several."""
    return the_model(_listed(Server(chat_url(endpoint), key)))


def the_model(entries: list[Mapping[str, Any]]) -> Served | None:
    """The one model that is meant without a name: a single adapter, which vLLM lists beside its base, or a single
    model."""
    named = [(name, entry) for entry in entries if (name := _name(entry)) is not None]
    adapters = [one for one in named if one[1].get("parent")]
    if len(found := adapters or named) != 1:
        return None
    ((name, entry),) = found
    root = entry.get("root")
    return Served(name, root if isinstance(root, str) else None)


def served_models(server: Server) -> list[str]:
    """The names that `/v1/models`, or Ollama's `/api/tags`, gives; none where the server does not answer."""
    return [name for entry in _listed(server) if (name := _name(entry)) is not None]


def _name(entry: Mapping[str, Any]) -> str | None:
    name = entry.get("id", entry.get("name"))
    return name if isinstance(name, str) and name else None


def models_url(url: str) -> str:
    """Where the server of a chat address lists its models."""
    parts = urlsplit(url)
    if parts.path.endswith("/api/chat"):
        return urlunsplit(parts._replace(path=f"{parts.path.removesuffix('/chat')}/tags"))
    base = parts.path.removesuffix("/completions").removesuffix("/chat")
    return urlunsplit(parts._replace(path=f"{base}/models"))


def _listed(server: Server) -> list[Mapping[str, Any]]:
    """What the server at a chat address lists as its models; nothing where it does not."""
    check(server)
    import aiohttp

    try:
        data = json.loads(asyncio.run(_get(server)) or b"null")
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError):
        return []
    listed = data.get("data", data.get("models")) if isinstance(data, Mapping) else None
    return [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []


async def _get(server: Server) -> bytes | None:
    import aiohttp

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS), headers=headers_of(server)) as session,
        session.get(models_url(server.url), allow_redirects=False) as response,  # a redirect would take the key along
    ):
        return await read_body(response, MAX_BYTES) if response.status == 200 else None
