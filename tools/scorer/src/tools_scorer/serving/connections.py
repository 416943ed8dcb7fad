"""Access to `tools-scorer serve` and time limits of connections: slow clients cannot keep others out.

A connection has a time limit for a request's headers and one for its body. Where there are more connections than
allowed, the oldest that is still to say what it wants is closed, so that a new client is always heard. A request has to
name this machine as its host, as a page of a foreign name that was bound to this address cannot (DNS rebinding).
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from tools_shared.engines.http.hosts import foreign_request

HEADER_SECONDS = 10.0
Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


def protocol(max_connections: int, seconds: float = HEADER_SECONDS) -> type[H11Protocol]:
    """uvicorn's protocol with these limits."""

    class Limited(H11Protocol):
        """One connection; `reading` is set while a request's headers are not complete."""

        reading: Any = None

        def connection_made(self, transport: Any) -> None:
            self.since = time.monotonic()
            super().connection_made(transport)
            self._watch()
            if len(self.connections) > max_connections:
                waiting = [c for c in self.connections if c is not self and c.is_waiting()]
                min(waiting, key=lambda c: c.since, default=self).transport.abort()

        def is_waiting(self) -> bool:
            """Whether no whole request is here: then nobody loses an answer that is being made."""
            return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

        def data_received(self, data: bytes) -> None:
            if self.reading is None and (self.cycle is None or self.cycle.response_complete):
                self._watch()
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._unwatch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            super().connection_lost(exc)

        def _watch(self) -> None:
            self.reading = self.loop.call_later(seconds, self.transport.abort)

        def _unwatch(self) -> None:
            if self.reading is not None:
                self.reading.cancel()
                self.reading = None

    return Limited


class Admission:
    """Passes on requests that name an allowed host, come from no foreign page and have the key, where there is one."""

    def __init__(self, app: App, hosts: tuple[str, ...], key: str | None) -> None:
        self.app, self.hosts, self.key = app, hosts, key

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self.app(scope, receive, send)
            return
        status, why = refusal
        body = json.dumps({"error": why}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if refused := foreign_request(headers.get(b"host", ""), headers.get(b"origin"), self.hosts):
            return refused
        given = headers.get(b"authorization", "").encode()
        wanted = f"Bearer {self.key}".encode() if self.key is not None and scope["path"] != "/health" else given
        if not hmac.compare_digest(given, wanted):
            return 401, "the key is missing or wrong: send 'Authorization: Bearer KEY'"
        return None
