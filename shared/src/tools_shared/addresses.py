"""Addresses with secrets in them: sent as given, never written or printed.

A key may stand in an address's query (`https://host/v1?api_key=...`) or in the JSON that a server is sent. Names are
kept, so that a reader sees what was given; values are not. A value under a name that is not a credential's leaves eight
hex digits of its hash, by which a resumed run notices that it has changed; a credential's may change between two tries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from tools_shared.errors import ToolError

HIDDEN = "***"
_CREDENTIAL = re.compile(
    r"key|token|secret|pass|pwd|auth|cred|sig|sas|session|code|cookie|jwt|hmac|otp|pin$|^s[a-z]$|^x-", re.IGNORECASE
)
"""Names of credentials, and of what changes with them as in a signed address (`se`, `sp`, `X-...`)."""
_QUERY = re.compile(r"([^?&;=#\s]*)=([^&;#\s]*)")
_IN_TEXT = re.compile(r"\b(?!hf:|demo:)([a-z][a-z0-9+.-]*://)([^\s/?#'\"<>@]*@)?([^\s'\"<>]*)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\s*\{\{?\s*\w+\s*\}?\}\s*")
_SHORTEST_SECRET = 6


def hidden_value(name: str, value: str) -> str:
    """What stands for a value in everything that is written."""
    if not value or value.startswith(HIDDEN):
        return value
    return (
        HIDDEN
        if _CREDENTIAL.search(name)
        else HIDDEN + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()[:8]
    )


def shown_address(address: str) -> str:
    """An address without the values of its query, without its fragment's, and without a name and password."""
    start, mark, query = address.partition("?")
    scheme, slashes, rest = start.rpartition("://")
    host, slash, path = rest.partition("/")
    if "@" in host:
        host = f"{HIDDEN}@{host.rpartition('@')[2]}"
    path, sharp, fragment = path.partition("#")
    shown = f"{scheme}{slashes}{host}{slash}{path}" + (f"#{HIDDEN}" if sharp and fragment else sharp)
    return shown + mark + _shown_query(query) if mark else shown


def _shown_query(query: str) -> str:
    """`name=value` pairs without the values; a part without `=` may itself be a key, and is one value."""
    query, sharp, _ = query.partition("#")
    parts = re.split(r"([&;])", query)
    return "".join(part if part in ("&", ";") else _shown_part(part) for part in parts) + (
        f"#{HIDDEN}" if sharp else ""
    )


def _shown_part(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={hidden_value(unquote_plus(name), value)}" if equals else hidden_value("key", part)


def refuse_hidden(address: str, flag: str) -> None:
    """Raise ToolError for an address taken from a written file, whose values are not in it."""
    if HIDDEN in address:
        raise ToolError(
            f"{flag}: this is an address as a run's files show it, without the values of its query ('{HIDDEN}'); "
            "give the whole address again, on the command line or in the environment"
        )


def secrets_of(address: str) -> list[str]:
    """The query's values, as sent and decoded, that a server might repeat in what it says."""
    values = [value for _, value in _QUERY.findall(address.partition("?")[2])]
    return sorted({v for raw in values for v in (raw, unquote_plus(raw)) if len(v) >= _SHORTEST_SECRET}, key=len)[::-1]


def shown_text(text: str) -> str:
    """Text in which every address with a scheme is shown without secrets; those of datasets (`hf://`, `demo://`) have
    none, and stay."""
    if "?" not in text and "@" not in text:
        return text
    return _IN_TEXT.sub(lambda found: shown_address(found[0]) if found[2] or "?" in found[3] else found[0], text)


def shown_json(value: Any, name: str = "") -> Any:
    """A JSON value without the texts in it, but for placeholders such as `{message}`; names, numbers and structure
    stay."""
    if isinstance(value, dict):
        return {key: shown_json(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [shown_json(item, name) for item in value]
    if isinstance(value, str) and not _PLACEHOLDER.fullmatch(value):
        return hidden_value(name, value)
    return HIDDEN if _CREDENTIAL.search(name) and isinstance(value, int | float) and value is not True else value


def texts_of(value: Any) -> Iterator[str]:
    """The texts in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, str):
        yield value
