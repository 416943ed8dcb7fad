"""Many JSON requests to one server: concurrent, retried, rate-limited and cached.

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
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from tools_shared.engines.http.exchange import Server, brief, check, headers_of, once, read_body
from tools_shared.engines.http.failures import EXCERPT, Failure
from tools_shared.engines.http.reply_cache import ReplyCache
from tools_shared.errors import Incomplete

if TYPE_CHECKING:
    import aiohttp

LONGEST_WAIT = 60.0
"""Seconds: no pause of our own choice between two tries is longer. What a server asks for is kept up to --timeout."""


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON body to post. `key` is the caller's name for it; `draw` tells apart samples with the same body."""

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
    check(server)
    asyncio.run(_post_all(server, first, take, on_reply, cache))


def post_plain(server: Server, body: dict[str, Any]) -> tuple[int, str]:
    """Post one body, once: the status and the beginning of what the server says. Raises Incomplete without an answer,
    ToolError as `post_all`."""
    check(server)
    import aiohttp

    try:
        return asyncio.run(_post_plain(server, body))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise Incomplete(f"{server.shown}: {brief(error)}; run the same command again to resume") from error


async def _post_plain(server: Server, body: dict[str, Any]) -> tuple[int, str]:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=server.timeout)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers_of(server)) as session,
        session.post(server.url, data=json.dumps(body).encode(), allow_redirects=False) as response,
    ):
        raw = await read_body(response, server.max_bytes) or b""
    text = " ".join(raw.decode("utf-8", "replace").split())[:EXCERPT]
    return response.status, server.without_secrets(text.encode()).decode()


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
    put_off: list[Incomplete] = []  # nothing more is asked then, and what is under way is waited for
    connector = aiohttp.TCPConnector(limit=server.concurrency)
    timeout = aiohttp.ClientTimeout(total=server.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers_of(server)) as session:

        async def work(request: Request | None = None) -> None:
            nonlocal under_way
            while not put_off and (request is not None or (request := take()) is not None or under_way):
                if request is None:
                    changed.clear()
                    await changed.wait()
                    continue
                under_way += 1
                try:
                    reply = await _ask(session, server, request, pace, rng)
                except Incomplete as error:
                    put_off.append(error)
                    changed.set()
                    return
                finally:
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
    if put_off:
        raise put_off[0]


async def _ask(session: aiohttp.ClientSession, server: Server, request: Request, pace: _Pace, rng: Random) -> Reply:
    began, attempt = time.monotonic(), 0
    while True:
        sent = server.habits.fit(request.body) if server.habits else request.body
        await pace.wait()
        data, failure = await once(session, server, json.dumps(sent, ensure_ascii=False).encode("utf-8", "replace"))
        if failure is not None and server.habits:
            if server.habits.learn(request.body, sent, failure):
                continue
            failure = server.habits.explain(sent, failure)
        attempt += 1
        if failure is None or not failure.may_pass or attempt > server.max_retries:
            return Reply(data, failure, attempt, time.monotonic() - began)
        await asyncio.sleep(_pause(server, failure, attempt, rng))


def _pause(server: Server, failure: Failure, attempt: int, rng: Random) -> float:
    """Seconds until the next try: full jitter (Brooker 2015, AWS Architecture Blog), but never sooner than the server
    asks. Raises Incomplete when it asks for longer than a try may take."""
    if failure.wait is not None and failure.wait > server.timeout:
        raise Incomplete(
            f"{server.shown}: {failure.message}: asks for {failure.wait:.0f} s of waiting time, more than --timeout "
            f"{server.timeout:g}; run the same command again then to resume, or raise --timeout"
        )
    jittered = rng.uniform(0, min(LONGEST_WAIT, server.backoff * 2**attempt))
    return max(jittered, (failure.wait or 0.0) + 0.1 * jittered)


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
