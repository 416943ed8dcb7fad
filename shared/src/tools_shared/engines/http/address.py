"""A server's address and key, as users give them."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, urlsplit, urlunsplit

from tools_shared.errors import ToolError


def chat_url(endpoint: str) -> str:
    """The address to post to, from the base address that users know (`http://host:8000/v1`); raises ToolError for what
    is no address. What stands behind a question mark stays there."""
    parts = address_parts(endpoint)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/completions") else f"{path}/chat/completions"))


def address_parts(endpoint: str) -> SplitResult:
    """A server's address taken apart; raises ToolError for what is none, and for one with a password in it."""
    try:
        parts = urlsplit(endpoint)
    except ValueError as error:
        raise ToolError(f"endpoint '{endpoint}' is no address ({error}); such as http://localhost:8000/v1") from error
    if "@" in parts.netloc:
        raise ToolError(
            f"endpoint at {parts.netloc.rpartition('@')[2]}: a name or password in the address would be written into "
            "the run; leave it out and name a variable that holds the key (--api-key-env)"
        )
    return parts


def read_api_key(variable: str | None) -> str | None:
    """The key that an environment variable holds; raises ToolError when it holds none."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ToolError(f"--api-key-env {variable}: this environment variable is not set; export it, or leave it out")
    if not key.isascii() or not key.isprintable():
        raise ToolError(
            f"--api-key-env {variable}: holds what no key has (a line end, or letters beyond ASCII); mend it"
        )
    return key
