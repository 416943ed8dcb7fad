"""Many JSON requests to one server: side by side, retried, paced, remembered, and never louder than asked.

A request that fails is a result with a reason (`Reply.failure`), not an exception: who asks decides what a failure
costs. Retried is what may pass (429, 408, 5xx, a closed connection, a timeout, half a body), also where it comes as an
error inside a 200; other 4xx are not.
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
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tools_shared.engines.http.address import address_parts
from tools_shared.engines.http.failures import EXCERPT, Failure, failure_in, http_failure
from tools_shared.engines.http.habits import Habits
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.engines.http.streams import Unfinished, whole
from tools_shared.errors import Incomplete, ToolError

if TYPE_CHECKING:
    import aiohttp

LONGEST_WAIT = 60.0
"""Seconds: no pause of our own choice between two tries is longer. What a server asks for is kept up to --timeout."""


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON body to post. `key` is the caller's name for it; `draw` tells apart draws with the same body."""

    key: Any
    body: dict[str, Any]
    draw: int = 0


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
    read. `api_key` goes into the Authorization header (Azure's own too) and is blotted out of whatever the server says.
    With `habits` requests are fitted to what the server turned out to take.
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
    habits: Habits | None = None


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
    text = " ".join(raw.decode("utf-8", "replace").split())[:EXCERPT]
    return response.status, text.replace(server.api_key, "***") if server.api_key else text


def _check(server: Server) -> None:
    try:
        import aiohttp  # noqa: F401 - fail before the loop starts
    except ImportError:
        raise ToolError("requests over HTTP need aiohttp: pip install 'tools-shared[http]'") from None
    address_parts(server.url)


def _headers(server: Server) -> dict[str, str]:
    headers = {**server.headers, "Content-Type": "application/json"}
    if server.api_key:
        headers["Authorization"] = f"Bearer {server.api_key}"
        if (urlsplit(server.url).hostname or "").endswith(".azure.com"):
            headers["api-key"] = server.api_key
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
    began, attempt = time.monotonic(), 0
    while True:
        sent = server.habits.fit(request.body) if server.habits else request.body
        await pace.wait()
        attempt += 1
        data, failure = await _once(session, server, json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace"))
        if failure is not None and server.habits:
            if server.habits.learn(request.body, sent, failure):
                continue
            failure = server.habits.explain(sent, failure)
        if failure is None or not failure.may_pass or attempt > server.max_retries:
            return Reply(data, failure, attempt, time.monotonic() - began)
        await asyncio.sleep(_pause(server, failure, attempt, rng))


def _pause(server: Server, failure: Failure, attempt: int, rng: Random) -> float:
    """Seconds until the next try: full jitter (Brooker 2015, AWS Architecture Blog), but never sooner than the server
    asks. Raises Incomplete when it asks for longer than a try may take."""
    if failure.wait is not None and failure.wait > server.timeout:
        raise Incomplete(
            f"{server.url}: {failure.message}: asks for {failure.wait:.0f} s of patience, more than --timeout "
            f"{server.timeout:g}; run the same command again then to go on, or raise --timeout"
        )
    jittered = rng.uniform(0, min(LONGEST_WAIT, server.backoff * 2**attempt))
    return max(jittered, (failure.wait or 0.0) + 0.1 * jittered)


async def _once(session: aiohttp.ClientSession, server: Server, body: bytes) -> tuple[Any, Failure | None]:
    """One try: the parsed body, or a failure."""
    import aiohttp

    try:
        # A redirected POST would become a GET, elsewhere, with our key.
        async with session.post(server.url, data=body, allow_redirects=False) as response:
            raw = await _read(response, server.max_bytes)
            if raw is None:
                return None, Failure("too_large", f"more than {server.max_bytes} bytes", response.status)
            if server.api_key:
                raw = raw.replace(server.api_key.encode(), b"***")
            if not 200 <= response.status < 300:
                moved = response.headers.get("Location", "").encode() if response.status < 400 else b""
                raw = b"moved to " + moved + b"; give that address" if moved else raw
                return None, http_failure(response.status, raw, _retry_after(response))
    except (TimeoutError, aiohttp.ServerTimeoutError):
        return None, Failure("timeout", f"no answer within {server.timeout:g} s", may_pass=True)
    except aiohttp.InvalidURL as error:
        raise ToolError(f"endpoint '{server.url}' is no address ({error})") from error
    except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
        return None, Failure("connection", f"TLS: {_brief(error)}")
    except (aiohttp.ClientError, OSError) as error:
        return None, Failure("connection", _brief(error), may_pass=True)
    try:
        data = _parsed(raw)
    except Unfinished:
        return None, Failure("connection", "the stream ended before the reply did", 200, may_pass=True)
    except (ValueError, RecursionError):
        excerpt = raw[:80].decode("utf-8", "replace")
        return None, Failure("invalid", f"not JSON: {excerpt!r}", 200, may_pass=True)
    failure = failure_in(data)
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
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:EXCERPT]


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
