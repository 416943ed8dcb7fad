"""`tools-bench serve-chat`: a tutor's API in front of a model on a server.

POST /chat takes `{"question", "mode", "grade", "dont_reveal_answer", "attempt"}` and answers `{"response", "mode",
"model", "finish_reason"}`; GET /health says which model answers. The prompts are those that `tools-bench run` sends to
an OpenAI-compatible server for the same item, and a plain question is asked as the model was trained.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools_bench import __version__
from tools_bench.requests.items import Item, messages_of
from tools_bench.requests.suite import MODES
from tools_bench.serving.options import ServeChatConfig
from tools_shared.console import say
from tools_shared.engines import SamplingParams
from tools_shared.engines.http.address import chat_url, read_api_key
from tools_shared.engines.http.chat import ChatApi, refusal_of, whole_text
from tools_shared.engines.http.exchange import Server, check, headers_of, once
from tools_shared.engines.http.hosts import foreign_request
from tools_shared.engines.http.served import asked_model
from tools_shared.errors import ToolError
from tools_shared.prompts import DEFAULT_PROFILE, Profile, load_profile
from tools_shared.records import Message

if TYPE_CHECKING:
    from aiohttp import ClientSession, web

BODY_SECONDS = 30.0
GUARDED = "Do not state the final answer."
KINDS = {"question": str, "mode": str, "grade": (str, int), "dont_reveal_answer": bool, "attempt": str}


class ChatRefusedError(Exception):
    """A request that is not answered: its status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def serve_chat(config: ServeChatConfig) -> None:
    """Answer until it is stopped, by Ctrl-C or SIGTERM. Raises ToolError when the port cannot be had, or the server
    does not say which of its models is meant."""
    from aiohttp import web

    tutor = open_tutor(config)
    try:
        asyncio.run(_run(tutor, config, web))
    except OSError as error:
        where = f"--host {config.host} --port {config.port}"
        raise ToolError(f"{where}: cannot listen there ({error.strerror or error}); choose another") from error


async def _run(tutor: Tutor, config: ServeChatConfig, web: Any) -> None:
    # A connection that sends no whole request is closed after 30 s; aiohttp's own limit is an hour.
    runner = web.AppRunner(application(tutor, config), access_log=None, shutdown_timeout=5.0, keepalive_timeout=30.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        port = runner.addresses[0][1]
        say(f"listening on http://{config.host}:{port} (POST /chat, GET /health), answers by {tutor.api.model}")
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        await stopped.wait()
    finally:
        await runner.cleanup()


def application(tutor: Tutor, config: ServeChatConfig) -> web.Application:
    """The service, without a socket."""
    from aiohttp import ClientSession, ClientTimeout, web

    under_way = asyncio.Semaphore(config.concurrency)
    names = (config.host, *config.allowed_host)

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if refused := foreign_request(request.headers.get("Host", ""), request.headers.get("Origin"), names):
                raise ChatRefusedError(*refused)
            return await handler(request)
        except ChatRefusedError as error:
            return web.json_response({"error": str(error)}, status=error.status, headers={"Connection": "close"})
        except web.HTTPRequestEntityTooLarge:
            why = f"the body is larger than {config.max_body_kb:g} KB"
            return web.json_response({"error": why}, status=413, headers={"Connection": "close"})

    async def chat(request: web.Request) -> web.Response:
        if under_way.locked():
            raise ChatRefusedError(503, f"{config.concurrency} requests are being answered; try again")
        async with under_way:
            if request.content_type != "application/json":
                raise ChatRefusedError(
                    415, f"send JSON with 'Content-Type: application/json', not {request.content_type}"
                )
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await request.read()
            except TimeoutError:
                raise ChatRefusedError(408, f"the body was not here within {BODY_SECONDS:g} s") from None
            return web.json_response(await tutor.answer(request.app[session], read_request(body)))

    async def health(request: web.Request) -> web.Response:
        told = {"status": "ok", "version": __version__, "model": tutor.api.model, "profile": tutor.profile.name}
        return web.json_response(told)

    session = web.AppKey("session", ClientSession)

    async def connected(app: web.Application) -> Any:
        timeout = ClientTimeout(total=config.timeout)
        async with ClientSession(timeout=timeout, headers=headers_of(tutor.server)) as app[session]:
            yield

    app = web.Application(middlewares=[guarded], client_max_size=int(config.max_body_kb * 1024))
    app.cleanup_ctx.append(connected)
    app.add_routes([web.post("/chat", chat), web.get("/health", health)])
    return app


def open_tutor(config: ServeChatConfig) -> Tutor:
    """The model that answers; raises ToolError where its name is neither given nor told by its server."""
    key = read_api_key(config.api_key_env)
    found = asked_model(config.endpoint, key) if config.model_name is None or config.profile is None else None
    name = config.model_name or (found.name if found else None)
    if name is None:
        shown = config.shown("endpoint")
        raise ToolError(f"{shown}: does not say which model it serves, or serves several; give --model-name")
    noted = str(found.notes) if found and found.notes and found.name == name else None
    server = Server(chat_url(config.endpoint), key, timeout=config.timeout)
    check(server)
    params = SamplingParams(config.temperature, config.max_new_tokens)
    return Tutor(server, ChatApi(server.url, name), load_profile(config.profile or noted or DEFAULT_PROFILE), params)


@dataclass(frozen=True)
class Tutor:
    """Asks the model and reads its replies."""

    server: Server
    api: ChatApi
    profile: Profile
    params: SamplingParams

    async def answer(self, session: ClientSession, item: Item) -> dict[str, Any]:
        """The body of a reply. Raises ChatRefusedError (502, 504) where the model's server fails."""
        body = self.api.body(prompt_of(item, self.profile), self.params, item.id, 0, self.profile.template_options)
        data, failure = await once(session, self.server, json.dumps(body).encode())
        told: dict[str, Any] = {"mode": item.mode, "model": self.api.model}
        if failure is not None:
            refused = refusal_of(failure)
            if refused is None:
                status = 504 if failure.kind == "timeout" else 502
                raise ChatRefusedError(status, f"the model's server: {failure.kind}: {failure.message}")
            return {"response": "", **told, "finish_reason": refused.finish_reason, "refusal": True}
        try:
            reply = self.api.read(data, self.params.max_new_tokens)
        except ValueError as error:
            raise ChatRefusedError(502, f"the model's server: {error}") from error
        found = {"response": whole_text(reply, self.profile.think), **told, "finish_reason": reply.finish_reason}
        return found if reply.refusal is None else {**found, "refusal": reply.refusal}


def read_request(body: bytes) -> Item:
    """The item that a request asks; raises ChatRefusedError naming what is wrong with it."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ChatRefusedError(400, f"not valid JSON: {str(error)[:200]}") from error
    if not isinstance(data, Mapping) or not isinstance(data.get("question"), str) or not data["question"].strip():
        raise ChatRefusedError(400, 'send {"question": "...", "mode": "hint", "grade": "6"}')
    given = {name: data[name] for name in KINDS if data.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, KINDS[name]) or (name == "grade" and isinstance(value, bool)):
            raise ChatRefusedError(400, f"'{name}' is {type(value).__name__}, as it must not be")
    mode = given.get("mode", "explain")
    if mode not in MODES:
        raise ChatRefusedError(400, f"mode is one of {', '.join(MODES)}, not {str(mode)[:40]!r}")
    guarded = given.get("dont_reveal_answer", mode != "explain")
    grade, attempt = str(given.get("grade", "6")), given.get("attempt")
    plain = mode == "explain" and not guarded and attempt is None
    kind = "math" if plain else "tutor"
    label = "guarded" if guarded else None
    return Item("chat", kind, "request", given["question"], mode=mode, grade=grade, attempt=attempt, label=label)


def prompt_of(item: Item, profile: Profile) -> list[Message]:
    """The messages for an item: a plain question as the model was trained, anything else as its tutor."""
    system, *rest = messages_of(item, profile)
    if item.label == "guarded" and GUARDED not in system.content:
        system = Message("system", f"{system.content} {GUARDED}")
    return [system, *rest]
