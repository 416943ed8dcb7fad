"""Reaching a Tinker-compatible service, and its refusals as one line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tools_shared.addresses import shown_address
from tools_shared.config.dotenv import secret
from tools_shared.errors import Incomplete, ToolError, brief
from tools_shared.models.extras import need
from tools_shared.names import did_you_mean

if TYPE_CHECKING:
    from tinker import ServiceClient

URL = "https://tinker.thinkingmachines.dev/services/tinker-prod"
"""Where the SDK goes when nobody says otherwise."""
PATIENCE = 20.0
"""Seconds for the first answer; afterwards the SDK itself retries, for minutes."""


@dataclass
class Service:
    """An open service: its address as it may be written, the SDK's client, and the key."""

    url: str
    client: ServiceClient
    key: str = field(repr=False)

    def rest(self) -> Any:
        return self.client.create_rest_client()


def connect(tinker_url: str | None) -> Service:
    """Raises ToolError, in one line, without the SDK or a key, when the service does not answer, and when it refuses
    the key or the SDK's version."""
    need("tinker", "tinker")
    # The SDK's own reports to its maker are off unless they are asked for.
    os.environ.setdefault("TINKER_TELEMETRY", "0")
    url = (tinker_url or secret("TINKER_BASE_URL") or URL).rstrip("/")
    key = secret("TINKER_API_KEY")
    if key is None:
        raise ToolError(
            "no key for the Tinker service: set TINKER_API_KEY in the environment, or in .env in the current folder"
        )
    _knock(url)
    with told(url):
        from tinker import ServiceClient

        service = Service(shown_address(url), ServiceClient(base_url=url, api_key=key), key)
        service.client.get_server_capabilities()
    return service


def _knock(url: str) -> None:
    """Raises ToolError when nothing answers: the SDK itself would try for minutes before it says so."""
    import httpx

    try:
        httpx.get(f"{url}/api/v1/healthz", timeout=PATIENCE)
    except httpx.HTTPError as error:
        raise ToolError(
            f"the Tinker service at {shown_address(url)} does not answer ({type(error).__name__}: "
            f"{brief(' '.join(str(error).split()), 200, quoted=False)}); check --tinker-url and the network"
        ) from error


def server_model(service: Service, name: str) -> str:
    """The service's own name of a base model; raises ToolError, with those that it has, where it is not among them.

    A name may carry a suffix for how it is served, as `NAME:peft:262144`.
    """
    with told(service.url):
        listed = service.client.get_server_capabilities().supported_models
    names = [model.model_name for model in listed if model.model_name]
    found = next((n for n in names if n == name), None) or next((n for n in names if n.startswith(f"{name}:")), None)
    if found is None:
        some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise ToolError(
            f"{name}: the Tinker service at {service.url} does not train this model{did_you_mean(name, names)}; "
            f"it has {some or 'none'}"
        )
    return found


@contextmanager
def told(url: str) -> Iterator[None]:
    """The SDK's errors as ours. What it prints goes to the terminal's stderr: stdout belongs to the result."""
    import sys

    import tinker

    try:
        with redirect_stdout(sys.stderr):
            yield
    except tinker.TinkerError as error:
        raise _ours(error, url) from error


def _ours(error: Exception, url: str) -> ToolError:
    import tinker

    said = brief(" ".join(str(error).split()), 300, quoted=False)
    where = f"the Tinker service at {url}"
    version = metadata.version("tinker")
    if isinstance(error, tinker.AuthenticationError | tinker.PermissionDeniedError) or "api_key" in said:
        return ToolError(f"{where} refuses the key in TINKER_API_KEY ({said}); check it, and what it may do")
    if isinstance(error, tinker.BadRequestError) and "version" in said.lower():
        return ToolError(f"{where} refuses tinker {version} ({said}); run: pip install -U tinker")
    if isinstance(error, tinker.APIConnectionError):
        return Incomplete(f"{where} is gone ({said}); run the same command again to go on from the last step")
    return ToolError(f"{where} refused a request of tinker {version} ({said})")
