"""`tools-bench view`: the page and its data over HTTP, for this machine, or with a token for others.

GET / is the page, which holds no data; GET /api/... answers JSON (`api`). Nothing is changed by any request. The root
is looked at from time to time by a thread of its own, so that an answer waits for no file system.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import json
import math
import secrets
import signal
import socket
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools_bench.view.api import BadRequest, ViewApi
from tools_bench.view.database import StaleIndex
from tools_bench.view.index import Index
from tools_bench.view.options import ViewConfig
from tools_bench.view.page import view_page
from tools_bench.view.questions import ChangedRun, UnknownRun
from tools_shared.console import say_address
from tools_shared.engines.http.hosts import foreign_request
from tools_shared.errors import ToolError
from tools_shared.files.html import SERVED

if TYPE_CHECKING:
    from aiohttp import web

SECONDS = 30.0
"""The time limit of one answer."""
THREADS = 4
MOST_AT_ONCE = 32
"""Requests that are answered or wait at a time; more are refused (503)."""
MOST_CONNECTIONS = 256
"""Open connections; with more of them the oldest are closed, so that a new client is always heard."""
CLIENT_SECONDS = 30.0
"""How long a connection may be open without a whole request, however slowly its bytes come."""
MOST_BYTES = 1024
"""Of a request's body, which none needs."""
GRACE = 2.0
"""Seconds that answers under way have once the service is stopped."""


def serve_view(config: ViewConfig) -> None:
    """Answer until it is stopped, by Ctrl-C or SIGTERM. Raises ToolError where there is no such folder, or the port
    cannot be had."""
    root = Path(config.root)
    if not root.is_dir():
        raise ToolError(f"{root}: no such folder; name the one that holds the runs")
    token = None if is_this_machine(config.host) else secrets.token_urlsafe(32)
    index, stopped = Index(root), threading.Event()
    watcher = threading.Thread(target=_watch, args=(index, config.interval, stopped), daemon=True)
    try:
        asyncio.run(_run(ViewApi(index), config, token, watcher))
    except OSError as error:
        where = f"--host {config.host} --port {config.port}"
        raise ToolError(f"{where}: cannot listen there ({error.strerror or error}); choose another") from error
    finally:
        stopped.set()
        if watcher.is_alive():
            watcher.join(timeout=GRACE)


def is_this_machine(host: str) -> bool:
    """Whether every address of a host name is a loopback one, which nobody else reaches. Raises ToolError for a name
    without an address."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise ToolError(
            f"--host {host}: not an address of this machine; give one such as 127.0.0.1 or 0.0.0.0"
        ) from error
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def _watch(index: Index, interval: float, stopped: threading.Event) -> None:
    """Look at the root until stopped, pausing ten times as long as a look takes, so that a slow disk is not kept
    busy."""
    while not stopped.is_set():
        took = index.refresh(stopped)
        stopped.wait(max(interval, 10 * took))


async def _run(api: ViewApi, config: ViewConfig, token: str | None, watcher: threading.Thread) -> None:
    from aiohttp import web

    with ThreadPoolExecutor(THREADS) as pool:
        app = application(api, (config.host, *config.allowed_host), token, pool)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GRACE, keepalive_timeout=CLIENT_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, config.host, config.port).start()
            say_address(
                f"{config.root}: open in a browser (Ctrl-C ends it):",
                _address(config.host, runner.addresses[0][1], token),
            )
            watcher.start()
            asked_to_stop, loop = asyncio.Event(), asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, asked_to_stop.set)
            while not asked_to_stop.is_set():
                _close_oldest(runner)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asked_to_stop.wait(), timeout=0.5)
        finally:
            await runner.cleanup()


def _close_oldest(runner: web.AppRunner) -> None:
    connections = runner.server.connections if runner.server is not None else []
    for connection in connections[:-MOST_CONNECTIONS]:
        if connection.transport is not None:
            connection.transport.abort()


def _address(host: str, port: int, token: str | None) -> str:
    """What to open in a browser. The token comes behind '#', which browsers send to no server and no log."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"#token={token}" if token else "")


def application(api: ViewApi, names: tuple[str, ...], token: str | None, pool: ThreadPoolExecutor) -> web.Application:
    """The service, without a socket; `names` are those that it goes by."""
    from aiohttp import web

    html = view_page().encode()
    places = asyncio.Semaphore(MOST_AT_ONCE)

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        refused = foreign_request(request.headers.get("Host", ""), request.headers.get("Origin"), names)
        if refused is None and request.path.startswith("/api/"):
            refused = _refused_token(request.headers.get("Authorization", ""), token)
        if refused is not None:
            return _json(web, {"error": refused[1]}, refused[0])
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _json(web, {"error": error.reason}, error.status)

    async def page(request: web.Request) -> web.Response:
        return web.Response(body=html, content_type="text/html", charset="utf-8", headers=SERVED)

    async def answer(request: web.Request) -> web.Response:
        if places.locked():
            return _json(web, {"error": f"{MOST_AT_ONCE} requests are being answered; try again"}, 503)
        async with places:
            status, told = await _asked(api, request, pool)
        body = json.dumps(told, ensure_ascii=True, allow_nan=False).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if status == 200 and request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={**SERVED, "ETag": tag})
        headers = {**SERVED, "ETag": tag}
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    app = web.Application(middlewares=[guarded], client_max_size=MOST_BYTES)
    app.add_routes([web.get("/", page), web.get("/api/{path:.*}", answer)])
    return app


async def _asked(api: ViewApi, request: web.Request, pool: ThreadPoolExecutor) -> tuple[int, dict[str, Any]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SECONDS):
            told = await loop.run_in_executor(pool, api.answer, request.path, dict(request.query))
    except TimeoutError:
        return 504, {"error": f"not answered within {SECONDS:g} s"}
    except UnknownRun as error:
        return 404, {"error": f"there is no {error}"}
    except BadRequest as error:
        return 400, {"error": str(error)}
    except ChangedRun as error:
        return 409, {"error": f"{error} has changed on the disk and is being read again; ask again"}
    except (StaleIndex, sqlite3.DatabaseError):
        return 503, {"error": "the index is being made again; ask again"}
    except ToolError as error:
        return 500, {"error": str(error)}
    return 200, _plain(told)


def _plain(value: Any) -> Any:
    """The value as JSON has it: a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _refused_token(given: str, token: str | None) -> tuple[int, str] | None:
    if token is None or hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
        return None
    return 401, "the token is missing or wrong: open the address that tools-bench view has printed"


def _json(web: Any, told: dict[str, Any], status: int) -> web.Response:
    return web.json_response(told, status=status, headers={**SERVED, "Connection": "close"})
