"""`tools-scorer serve`: probabilities over HTTP.

POST /score takes `{"traces": [...]}`, each `{"question": ..., "response": ...}` or `{"states": [[[...]]]}` of shape
[n_steps, n_layers, hidden]; it answers `{"scores": [{"score": {...}, "steps": [...]}, ...]}`. GET /health says what is
loaded. Nothing is read beyond the limits: what is too large or too slow is refused while it comes in (`connections`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

from tools_scorer import __version__
from tools_scorer.config.scorer import ServeConfig
from tools_shared.console import say
from tools_shared.engines.http.address import read_api_key
from tools_shared.errors import Incomplete, ToolError
from tools_shared.scorers.scorer import Scorer, load_scorer, summarize
from tools_shared.scorers.text import Scored, TextResponse, TextScorer, open_probe

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

BODY_SECONDS = 30.0
_CHARACTERS_PER_TOKEN = 20
"""No tokenizer's tokens are longer on average; what has more characters is refused before it is taken apart."""


class RefusedError(Exception):
    """A request that is not answered: its status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def serve(config: ServeConfig) -> None:
    """Load and answer until it is stopped, by Ctrl-C or SIGTERM.

    Raises ToolError when the scorer, its model or the extra is missing, or the port cannot be had.
    """
    try:
        import uvicorn
    except ImportError:
        raise ToolError("serving needs starlette and uvicorn; install tools-scorer[serve]") from None
    from tools_scorer.serving.connections import Admission, protocol

    key = read_api_key(config.api_key_env)
    with _listening(config.host, config.port) as listener:
        hosts = (config.host, *config.allowed_host)
        app = Admission(application(config), hosts, key)
        limits = {"http": protocol(config.max_connections), "ws": "none", "h11_max_incomplete_event_size": 1 << 15}
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", log_config=None, access_log=False, **limits))
        say(f"listening on http://{config.host}:{listener.getsockname()[1]} (POST /score, GET /health)")
        with contextlib.suppress(Incomplete, KeyboardInterrupt):  # uvicorn gives the signal on when it has ended
            server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """The socket, before anything is loaded for it."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise ToolError(
            f"--host {host} --port {port}: cannot listen there ({error.strerror}); choose another"
        ) from error


def application(config: ServeConfig) -> Starlette:
    """The ASGI application, scorer and model loaded."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    if config.scorer is None:
        raise ToolError("--scorer is missing: name a run of tools-scorer train")
    reader = open_probe(config.scorer, config.model, config.device) if config.text else None
    scorer = reader.scorer if reader else load_scorer(config.scorer)
    answering = _Answering(scorer, reader, config)

    async def score(request: Request) -> JSONResponse:
        try:
            _check_type(request.headers.get("content-type"))
            body = await _body(request, int(config.max_body_mb * 2**20))
            return JSONResponse({"scores": await run_in_threadpool(answering.answer, body)})
        except RefusedError as error:
            # What is left of the body is not read: the connection ends with the answer.
            return JSONResponse({"error": str(error)}, status_code=error.status, headers={"connection": "close"})
        except ClientDisconnect:
            return JSONResponse({"error": "the client is gone"}, status_code=400)  # which nobody hears

    async def health(request: Request) -> JSONResponse:
        facts = scorer.facts
        told = {"status": "ok", "version": __version__, "config_name": facts.config_name, "text": config.text}
        shape = {"layers": list(facts.layers), "hidden_size": facts.hidden_size, "model": facts.reader.get("model")}
        return JSONResponse(told | shape)

    return Starlette(routes=[Route("/score", score, methods=["POST"]), Route("/health", health)])


async def _body(request: Request, most: int) -> bytes:
    """The body, refused as soon as it is longer than `most` bytes, whatever its header says."""
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                received += chunk
                if len(received) > most:
                    raise RefusedError(413, f"the body is larger than {most} bytes")
    except TimeoutError:
        raise RefusedError(408, f"the body was not here within {BODY_SECONDS:g} s") from None
    return bytes(received)


def _check_type(given: str | None) -> None:
    """A form's types, which a page anywhere may post, are not taken; none at all is what a plain client sends."""
    kind = (given or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise RefusedError(415, f"send JSON with 'Content-Type: application/json', not {kind[:60]}")


class _Answering:
    """From a request's body to scores. One request computes at a time: the reader is not made for two."""

    def __init__(self, scorer: Scorer, reader: TextScorer | None, config: ServeConfig) -> None:
        import threading

        self.scorer, self.reader, self.config = scorer, reader, config
        self._lock = threading.Lock()

    def answer(self, body: bytes) -> list[dict[str, Any]]:
        traces = self._traces(body)
        texts = {i: self._response(trace) for i, trace in enumerate(traces) if "states" not in trace}
        states = {i: self._states(trace["states"]) for i, trace in enumerate(traces) if "states" in trace}
        with self._lock:
            found = {i: self._of_states(tensor) for i, tensor in states.items()}
            if texts and self.reader is not None:
                found |= dict(zip(texts, self.reader.score(list(texts.values())), strict=True))
        return [_told(found[i]) for i in range(len(traces))]

    def _traces(self, body: bytes) -> list[dict[str, Any]]:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"not valid JSON: {error}") from error
        traces = data.get("traces") if isinstance(data, dict) else None
        if not isinstance(traces, list) or not traces or not all(isinstance(trace, dict) for trace in traces):
            raise RefusedError(400, 'send {"traces": [...]}, each an object with question and response, or states')
        if len(traces) > self.config.max_traces:
            raise RefusedError(413, f"{len(traces)} traces are more than {self.config.max_traces} in one request")
        return traces

    def _response(self, trace: dict[str, Any]) -> TextResponse:
        question, text = trace.get("question"), trace.get("response")
        if not isinstance(question, str) or not isinstance(text, str):
            raise RefusedError(400, "a trace has question and response (text), or states")
        if self.reader is None:
            raise RefusedError(400, "started with --no-text; send states")
        if len(question) + len(text) > self.config.max_tokens * _CHARACTERS_PER_TOKEN:
            raise RefusedError(413, f"longer than {self.config.max_tokens} tokens")
        if any("\ud800" <= character <= "\udfff" for character in question + text):
            raise RefusedError(400, "the text contains half a surrogate pair (\\ud800 to \\udfff)")
        n_tokens = len(self.reader.tokenizer(question + text, add_special_tokens=False, verbose=False)["input_ids"])
        if n_tokens > self.config.max_tokens:
            raise RefusedError(413, f"{n_tokens} tokens are more than {self.config.max_tokens}")
        return TextResponse(question, text)

    def _states(self, given: Any) -> Any:
        import torch

        try:
            tensor = torch.tensor(given, dtype=torch.float32)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise RefusedError(400, f"states are numbers of shape [n_steps, n_layers, hidden]: {error}") from error
        facts = self.scorer.facts
        shape = (len(facts.layers), facts.hidden_size)
        if tensor.ndim != 3 or not len(tensor) or tuple(tensor.shape[1:]) != shape:
            raise RefusedError(
                400, f"states of shape {list(tensor.shape)}; the scorer reads [n_steps, {shape[0]}, {shape[1]}]"
            )
        if not torch.isfinite(tensor).all():
            raise RefusedError(400, "states are NaN or infinite")
        return tensor

    def _of_states(self, tensor: Any) -> Scored:
        steps = self.scorer.probabilities(tensor)
        return Scored(summarize(steps), tuple(steps))


def _told(scored: Scored) -> dict[str, Any]:
    if scored.score is None:
        return {"score": None, "reason": scored.reason}
    return {"score": scored.score.to_json(), "steps": list(scored.steps), "ends": list(scored.ends)}
