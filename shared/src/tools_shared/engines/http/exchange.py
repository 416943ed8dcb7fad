"""One request to a server, once: its address and key, the headers, the body that comes back or why there is none."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tools_shared.addresses import HIDDEN, secrets_of, shown_address, shown_text
from tools_shared.engines.http.address import address_parts
from tools_shared.engines.http.failures import EXCERPT, Failure, failure_in, http_failure
from tools_shared.engines.http.habits import Habits
from tools_shared.engines.http.streams import Unfinished, whole
from tools_shared.errors import ToolError

if TYPE_CHECKING:
    import aiohttp


@dataclass(frozen=True)
class Server:
    """Where requests go and how hard to try.

    `timeout` is for one try, in seconds; `rate_limit` in requests a second; `max_bytes` the longest body that is
    read. `api_key` goes into the Authorization header (Azure's own too) and is blotted out of whatever the server says.
    With `habits` requests are fitted to what the server turned out to take.
    """

    url: str = field(repr=False)
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    timeout: float = 120.0
    max_retries: int = 4
    rate_limit: float | None = None
    max_bytes: int = 64 * 1024 * 1024
    backoff: float = 0.5
    headers: dict[str, str] = field(default_factory=dict)
    habits: Habits | None = None

    @property
    def shown(self) -> str:
        """The address as messages give it."""
        return shown_address(self.url)

    def without_secrets(self, said: bytes) -> bytes:
        """What a server says, which may repeat the key or the address's query."""
        for secret in filter(None, (self.api_key, *self.headers.values(), *secrets_of(self.url))):
            said = said.replace(secret.encode(), HIDDEN.encode())
        return said


def check(server: Server) -> None:
    try:
        import aiohttp  # noqa: F401 - fail before the loop starts
    except ImportError:
        raise ToolError("requests over HTTP need aiohttp: pip install 'tools-shared[http]'") from None
    address_parts(server.url)


def headers_of(server: Server) -> dict[str, str]:
    headers = {**server.headers, "Content-Type": "application/json"}
    if server.api_key:
        headers["Authorization"] = f"Bearer {server.api_key}"
        if (urlsplit(server.url).hostname or "").endswith(".azure.com"):
            headers["api-key"] = server.api_key
    return headers


async def once(session: aiohttp.ClientSession, server: Server, body: bytes) -> tuple[Any, Failure | None]:
    """One try: the parsed body, or a failure."""
    import aiohttp

    try:
        # A redirected POST would become a GET, elsewhere, with our key.
        async with session.post(server.url, data=body, allow_redirects=False) as response:
            raw = await read_body(response, server.max_bytes)
            if raw is None:
                return None, Failure("too_large", f"more than {server.max_bytes} bytes", response.status)
            raw = server.without_secrets(raw)
            if not 200 <= response.status < 300:
                moved = shown_address(response.headers.get("Location", "")).encode() if response.status < 400 else b""
                raw = b"moved to " + moved + b"; give that address" if moved else raw
                return None, http_failure(response.status, raw, _retry_after(response))
    except (TimeoutError, aiohttp.ServerTimeoutError):
        return None, Failure("timeout", f"no answer within {server.timeout:g} s", may_pass=True)
    except aiohttp.InvalidURL as error:
        raise ToolError(f"endpoint '{server.shown}' is no address") from error
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
        return None, Failure("connection", f"TLS: {brief(error)}")
    except (aiohttp.ClientError, OSError) as error:
        return None, Failure("connection", brief(error), may_pass=True)
    try:
        data = _parsed(raw)
        failure = failure_in(data)
    except Unfinished:
        return None, Failure("connection", "the stream ended before the reply did", 200, may_pass=True)
    except (ValueError, RecursionError):
        excerpt = raw[:80].decode("utf-8", "replace")
        return None, Failure("invalid", f"not JSON: {excerpt!r}", 200, may_pass=True)
    return (data, None) if failure is None else (None, failure)


def _parsed(raw: bytes) -> Any:
    """JSON (see `whole`) in which half a surrogate pair, as a server makes of an emoji that it cut in two, is U+FFFD:
    no file could hold it. Raises ValueError, RecursionError and Unfinished."""
    data = whole(raw)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = json.dumps(data, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return data


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body, or None when it is longer than the limit."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


def brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {shown_text(' '.join(str(error).split()))}"[:EXCERPT]


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds from the Retry-After header: a number, or a date (RFC 9110, section 10.2.3); OpenAI's in milliseconds."""
    exact = response.headers.get("retry-after-ms", "").strip()
    if exact.replace(".", "", 1).isdecimal():
        return float(exact) / 1000
    value = response.headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
