"""Options that may hold secrets: used as given, never written or printed.

A key may stand in an address's query (`https://host/v1?api_key=...`) or in the JSON that a server is sent. Names are
kept, so that a reader sees what was given; values are not. A value under a name that is not a credential's leaves eight
hex digits of its hash, by which a resumed run notices that it has changed; a credential's may change between two tries.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from tools_shared.errors import ToolError

HIDDEN = "***"
_CREDENTIAL = re.compile(
    r"key|token|secret|pass|pwd|auth|cred|sig|sas|session|code|cookie|jwt|hmac|otp|pin$|^s[a-z]$|^x-", re.IGNORECASE
)
"""Names of credentials, and of what changes with them as in a signed address (`se`, `sp`, `X-...`)."""
_IN_TEXT = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s/?#'\"<>@]*@)?([^\s'\"<>]*)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\s*\{\{?\s*\w+\s*\}?\}\s*")
_NAMED_SECRET = re.compile(r"((?:token|secret|password|api_?key|auth)[a-z_]*=)[^&\s]*", re.IGNORECASE)
_SHORTEST_SECRET = 6


def hidden_value(name: str, value: str) -> str:
    """What replaces a value in everything that is written."""
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


def secrets_of(address: str) -> list[str]:
    """The query's values, as sent and decoded, that a server might repeat in what it says."""
    values = [part.partition("=")[2] or part for part in re.split("[&;#]", address.partition("?")[2])]
    found = {form for value in values for form in (value, unquote_plus(value)) if len(form) >= _SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)


def shown_text(text: str) -> str:
    """Text in which every address with a scheme is shown without secrets. Those of datasets (`hf://`, `demo://`) have
    no secrets but by mistake: only what is named as one is left out."""
    return _IN_TEXT.sub(_shown_match, text) if "://" in text else text


def _shown_match(found: re.Match[str]) -> str:
    if not found[2] and "?" not in found[3] and "#" not in found[3]:
        return found[0]
    if found[1].lower() in ("hf://", "demo://"):
        return _NAMED_SECRET.sub(rf"\1{HIDDEN}", found[0])
    return shown_address(found[0])


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


def is_file(text: str) -> bool:
    """Whether a text that may be data names a file; one too long for a name does not."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def shown_body(text: str) -> str:
    """JSON, or the name of a file of it, without the texts in it."""
    try:
        return json.dumps(shown_json(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text if is_file(text) else HIDDEN


def shown_request(body: Any, *options: str | None) -> Any:
    """A request without the values that JSON options (texts, or files of it) brought into it and that are not shown."""
    hidden: dict[str, str] = {}
    for text in filter(None, options):
        value = json.loads(Path(text).read_text(encoding="utf-8") if is_file(text) else text)
        pairs = zip(_leaves(value), _leaves(shown_json(value)), strict=True)
        hidden |= {json.dumps(leaf): shown for leaf, shown in pairs if leaf != shown}
    return _replaced(body, hidden)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict | list):
        return [leaf for item in (value.values() if isinstance(value, dict) else value) for leaf in _leaves(item)]
    return [value]


def _replaced(value: Any, hidden: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, hidden) for item in value]
    return hidden.get(json.dumps(value), value)


def shown_variable(name: str) -> str:
    """The name of an environment variable; what neither is one nor looks like one may be the key itself."""
    return name if name in os.environ or _looks_like_a_variable(name) else HIDDEN


def _looks_like_a_variable(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", name)) and ("_" in name or len(name) <= 12)


def _check_address(flag: str, address: str) -> None:
    if HIDDEN in address:
        raise ToolError(
            f"{flag}: this is an address as a run's files show it, without the values of its query ('{HIDDEN}'); "
            "give the whole address again, on the command line or in the environment"
        )


def _check_body(flag: str, text: str) -> None:
    if HIDDEN in text:
        raise ToolError(
            f"{flag}: this is JSON as a run's files show it, without the texts in it ('{HIDDEN}'); give the whole "
            "again, on the command line or in the environment"
        )


def _check_variable(flag: str, name: str) -> None:
    if name not in os.environ and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ToolError(
            f"{flag} takes the name of an environment variable, and what was given is none (not shown: it may be the "
            f"key itself); export the key under a name, such as API_KEY, and give {flag} API_KEY"
        )


@dataclass(frozen=True)
class Secret:
    """What an option may hold that is never written: `shown` makes of its value what is, `check` refuses that again."""

    shown: Callable[[str], str]
    check: Callable[[str, str], None]


ADDRESS = Secret(shown_address, _check_address)
BODY = Secret(shown_body, _check_body)
VARIABLE = Secret(shown_variable, _check_variable)
