"""Many JSON requests to one server: side by side, retried, paced, remembered, and never louder than asked.

A request that fails is a result with a reason (`Reply.failure`), not an exception: who asks decides what a failure
costs. Retried is what may pass (429, 408, 5xx, a closed connection, a timeout, half a body); other 4xx are not.
aiohttp and not httpx: `tests/benchmarks/test_bench_http.py` measures both on the same server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.errors import Incomplete, ToolError

if TYPE_CHECKING:
    import aiohttp

FailureKind = Literal["http", "timeout", "connection", "invalid", "too_large"]
LONGEST_WAIT = 60.0
"""Seconds: no pause between two tries is longer, whatever the server asks for."""
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON body to post. `key` is the caller's name for it; `draw` tells apart draws with the same body."""

    key: Any
    body: dict[str, Any]
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no data. `status` is the HTTP status where there was one."""

    kind: FailureKind
    message: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: `data` (parsed JSON), or `failure`. `seconds` is from the first try to the last."""

    data: Any
    failure: Failure | None
    attempts: int
    seconds: float
    cached: bool = False


@dataclass(frozen=True)
class Server:
    """Where requests go and how hard to try.

    `timeout` is for one try, in seconds; `rate_limit` in requests a second; `max_bytes` the longest body that is
    read. `api_key` goes into the Authorization header and is blotted out of whatever the server says.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 16
    timeout: float = 120.0
    max_retries: int = 4
    rate_limit: float | None = None
    max_bytes: int = 64 * 1024 * 1024
    backoff: float = 0.5
    headers: dict[str, str] = field(default_factory=dict)


def post_all(
    server: Server,
    requests: Iterator[Request],
    on_reply: Callable[[Request, Reply], None],
    cache: ReplyCache | None = None,
) -> None:
    """`post_stream` of what is known ahead. Requests are taken from the iterator only when there is room for them, so
    it may stop for a budget."""
    post_stream(server, lambda: next(requests, None), on_reply, cache)


def post_stream(
    server: Server,
    take: Callable[[], Request | None],
    on_reply: Callable[[Request, Reply], None],
    cache: ReplyCache | None = None,
) -> None:
    """Post what `take` gives and hand each reply to `on_reply` as it comes, in the order of completion.

    `take` is asked whenever one of `server.concurrency` places is free. None means that there is nothing now, which a
    later reply may change; the end is None with nothing under way. What `on_reply` raises stops everything and is
    raised here. Raises ToolError without aiohttp or for an address that is none.
    """
    if cache is not None:
        take = partial(_not_cached, server, take, on_reply, cache)
    first = take()
    if first is None:
        return
    _check(server)
    asyncio.run(_post_all(server, first, take, on_reply, cache))


def post_plain(server: Server, body: dict[str, Any]) -> tuple[int, str]:
    """Post one body, once: the status and the beginning of what the server says. Raises Incomplete without an answer,
    ToolError as `post_all`."""
    _check(server)
    import aiohttp

    try:
        return asyncio.run(_post_plain(server, body))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Incomplete(f"{server.url}: {_brief(error)}; run the same command again to go on") from error


async def _post_plain(server: Server, body: dict[str, Any]) -> tuple[int, str]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=server.timeout)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=_headers(server)) as session,
        session.post(server.url, data=json.dumps(body).encode(), allow_redirects=False) as response,
    ):
        raw = await _read(response, server.max_bytes) or b""
    text = " ".join(raw.decode("utf-8", "replace").split())[:_EXCERPT]
    return response.status, text.replace(server.api_key, "***") if server.api_key else text


def _check(server: Server) -> None:
    try:
        import aiohttp  # noqa: F401 - fail before the loop starts
    except ImportError:
        raise ToolError("requests over HTTP need aiohttp: pip install 'tools-shared[http]'") from None
    if not server.url.startswith(("http://", "https://")):
        raise ToolError(f"endpoint '{server.url}' is no address: it begins with http:// or https://")


def _headers(server: Server) -> dict[str, str]:
    headers = {**server.headers, "Content-Type": "application/json"}
    if server.api_key:
        headers["Authorization"] = f"Bearer {server.api_key}"
    return headers


def _not_cached(
    server: Server,
    take: Callable[[], Request | None],
    on_reply: Callable[[Request, Reply], None],
    cache: ReplyCache,
) -> Request | None:
    """The next request that the cache cannot answer; those before it are answered on the way."""
    while (request := take()) is not None:
        known = cache.get(server.url, request.body, request.draw)
        if known is None:
            return request
        on_reply(request, Reply(known, None, 0, 0.0, cached=True))
    return None


async def _post_all(
    server: Server,
    first: Request,
    take: Callable[[], Request | None],
    on_reply: Callable[[Request, Reply], None],
    cache: ReplyCache | None,
) -> None:
    import aiohttp

    pace, rng = _Pace(server.rate_limit), Random()
    changed, under_way = asyncio.Event(), 0
    connector = aiohttp.TCPConnector(limit=server.concurrency)
    timeout = aiohttp.ClientTimeout(total=server.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_headers(server)) as session:

        async def work(request: Request | None = None) -> None:
            nonlocal under_way
            while request is not None or (request := take()) is not None or under_way:
                if request is None:
                    changed.clear()
                    await changed.wait()
                    continue
                under_way += 1
                reply = await _ask(session, server, request, pace, rng)
                under_way -= 1
                if cache is not None and reply.failure is None:
                    cache.put(server.url, request.body, request.draw, reply.data)
                on_reply(request, reply)
                request = None
                changed.set()

        workers = [asyncio.create_task(work(first if i == 0 else None)) for i in range(server.concurrency)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _ask(session: aiohttp.ClientSession, server: Server, request: Request, pace: _Pace, rng: Random) -> Reply:
    began = time.monotonic()
    body = json.dumps(request.body, ensure_ascii=False).encode("utf-8", "replace")
    for attempt in range(1, server.max_retries + 2):
        await pace.wait()
        data, failure, retry_after = await _once(session, server, body)
        if failure is None or not _may_pass(failure) or attempt > server.max_retries:
            break
        # Full jitter (Brooker 2015, AWS Architecture Blog), but never sooner than the server asks.
        jittered = rng.uniform(0, min(LONGEST_WAIT, server.backoff * 2**attempt))
        await asyncio.sleep(min(LONGEST_WAIT, max(jittered, (retry_after or 0.0) + 0.1 * jittered)))
    return Reply(data, failure, attempt, time.monotonic() - began)


def _may_pass(failure: Failure) -> bool:
    if failure.kind == "http":
        return failure.status in _RETRIED or (failure.status or 0) >= 500
    return failure.kind in ("timeout", "connection", "invalid") and not failure.message.startswith("TLS")


async def _once(
    session: aiohttp.ClientSession, server: Server, body: bytes
) -> tuple[Any, Failure | None, float | None]:
    """One try: the parsed body, or a failure and the seconds that the server asks to wait."""
    import aiohttp

    try:
        # A redirected POST would become a GET, elsewhere, with our key.
        async with session.post(server.url, data=body, allow_redirects=False) as response:
            raw = await _read(response, server.max_bytes)
            if raw is None:
                return None, Failure("too_large", f"more than {server.max_bytes} bytes", response.status), None
            if server.api_key:
                raw = raw.replace(server.api_key.encode(), b"***")
            if response.status != 200:
                excerpt = " ".join(raw[:_EXCERPT].decode("utf-8", "replace").split())
                return None, Failure("http", f"{response.status} {excerpt}", response.status), _retry_after(response)
    except (TimeoutError, aiohttp.ServerTimeoutError):
        return None, Failure("timeout", f"no answer within {server.timeout:g} s"), None
    except aiohttp.InvalidURL as error:
        raise ToolError(f"endpoint '{server.url}' is no address ({error})") from error
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
        return None, Failure("connection", f"TLS: {_brief(error)}"), None
    except (aiohttp.ClientError, OSError) as error:
        return None, Failure("connection", _brief(error)), None
    try:
        return _parsed(raw), None, None
    except (ValueError, RecursionError):
        return None, Failure("invalid", f"not JSON: {raw[:80].decode('utf-8', 'replace')!r}", 200), None


def _parsed(raw: bytes) -> Any:
    """JSON in which half a surrogate pair, as a server makes of an emoji that it cut in two, is U+FFFD: no file could
    hold it. Raises ValueError and RecursionError."""
    data = json.loads(raw)
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        text = json.dumps(data, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return data


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """The body, or None when it is longer than the limit."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            return None
        parts.append(part)
    return b"".join(parts)


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_EXCERPT]


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds from the Retry-After header: a number, or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


class _Pace:
    """Lets through at most `rate` starts a second, evenly; None lets all through."""

    def __init__(self, rate: float | None) -> None:
        self.step = 1 / rate if rate else 0.0
        self.next = 0.0

    async def wait(self) -> None:
        if not self.step:
            return
        now = time.monotonic()
        start = max(now, self.next)
        self.next = start + self.step
        await asyncio.sleep(start - now)
