"""A server's address and key, as users give them."""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from tools_shared.addresses import shown_address, shown_variable
from tools_shared.config.dotenv import secret
from tools_shared.errors import ToolError

Dialect = Literal["chat", "text", "ollama"]


def chat_url(endpoint: str) -> str:
    """The address to post to, from the base address that users know; raises ToolError for what is no address.

    `http://host:8000` and `http://host:8000/v1` are OpenAI's chat completions under /v1, `.../completions` and Ollama's
    `.../api/chat` are taken as they are (`/api` alone is Ollama's at its own port), any other path gets
    `/chat/completions`. What follows a question mark stays there.
    """
    parts = address_parts(endpoint)
    path = parts.path.rstrip("/") or "/v1"
    if path.endswith("/api") and parts.port == 11434:
        path += "/chat"
    if dialect_of(path) == "chat" and not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return urlunsplit(parts._replace(path=path))


def dialect_of(url: str) -> Dialect:
    """How the server at an address is spoken to: OpenAI's chat completions, OpenAI's text completions (for models
    without a chat template), or Ollama's own chat."""
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/api/chat"):
        return "ollama"
    return "text" if path.endswith("/completions") and not path.endswith("/chat/completions") else "chat"


def address_parts(endpoint: str) -> SplitResult:
    """A server's address taken apart; raises ToolError for what is none, and for one with a password in it."""
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError as error:
        raise ToolError(
            f"endpoint '{shown_address(endpoint)}' is no address; such as http://localhost:8000/v1"
        ) from error
    if "@" in parts.netloc:
        raise ToolError(
            f"endpoint at {parts.netloc.rpartition('@')[2]}: a name or password in the address would be written into "
            "the run; leave it out and name a variable that holds the key (--api-key-env)"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ToolError(f"endpoint '{shown_address(endpoint)}' is no address: give http:// or https:// and a host")
    return parts


def read_api_key(variable: str | None, flag: str = "--api-key-env") -> str | None:
    """The key that an environment variable, or a line of `.env`, holds; raises ToolError when there is none."""
    if variable is None:
        return None
    key = secret(variable)
    if not key:
        raise ToolError(
            f"{flag} {shown_variable(variable)}: this environment variable is not set; export it, write it into "
            ".env, or leave it out"
        )
    if not key.isascii() or not key.isprintable():
        raise ToolError(f"{flag} {variable}: is not a key (it contains a line end or non-ASCII letters); fix it")
    return key
