"""Why a request failed: the server's message, whether a retry may help, and whether a content filter refused it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tools_shared.engines.http.replies import choice_of, ending_of, reason_of

FailureKind = Literal["http", "timeout", "connection", "invalid", "too_large"]
EXCERPT = 300
_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}
_FILTER_CODE = re.compile(
    r"content_?filter|responsible_?ai|content_?policy|moderat|data_?inspection|sensitive_?content|policy_?violation|"
    r"flagged_?input|guardrail|safety|prompt_?blocked|unsafe|harmful|prohibited_?content",
    re.IGNORECASE,
)
_FILTER_WORDS = re.compile(
    r"content (management |filter(ing)? |usage )?policy|content filter|flagged (as|for|by)|was flagged|usage "
    r"(policy|policies|guidelines)|considered high risk|content exists risk|inappropriate content|"
    r"safety (system|filter)|(sensitive|unsafe|harmful) content|blocked by.{0,30}(filter|guardrail|safety|moderation)|"
    r"violat\w+.{0,40}(policy|policies|guidelines)|敏感",
    re.IGNORECASE,
)
_FILTER_STATUS = {None, 400, 403, 422, 451}
_NO_MONEY = re.compile(r"insufficient_(quota|balance|funds|credit)|exceeded your current quota", re.IGNORECASE)
_STATUS_OF = (
    (429, re.compile(r"rate.?limit|too.?many|resource.?exhausted|throttl", re.IGNORECASE)),
    (503, re.compile(r"overload|unavailable|capacity|loading", re.IGNORECASE)),
    (504, re.compile(r"time.?out|timed.?out|deadline", re.IGNORECASE)),
    (500, re.compile(r"internal|server.?error|api.?error|provider.?error|bad.?gateway", re.IGNORECASE)),
)
_CODES = ("code", "type", "status", "error_type", "error_code", "param", "reason")
_WAITS = ("retry_after", "retryAfter", "retryDelay", "estimated_time")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no data. `status` is the HTTP status, or the one that an error inside a 200 names. `may_pass`: the
    same request may be answered later. `filtered`: a content filter refused it, which says something about the prompt
    and nothing about the server. `names` are what the error points at: parameters and codes. `wait`: seconds that the
    server asks to wait."""

    kind: FailureKind
    message: str
    status: int | None = None
    may_pass: bool = False
    filtered: bool = False
    names: tuple[str, ...] = ()
    wait: float | None = None


def http_failure(status: int, raw: bytes, wait: float | None = None) -> Failure:
    """What a status that is no success says, with the server's own words from whatever they are wrapped in."""
    text = raw.decode("utf-8", "replace")
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        error = text
    error = error if isinstance(error, Mapping | list | str) and error else text
    try:
        said = _words(error) or text
        return _failure("http", status, f"{status} {_one_line(said)}", error, wait)
    except RecursionError:  # no server's error, but a JSON of brackets
        return _failure("http", status, f"{status} {_one_line(text)}", text, wait)


def failure_in(data: Any) -> Failure | None:
    """The error that a 200 holds, None for a reply. With a status in it (or a code that is the name of one) it is as if
    that had been the answer's status."""
    error = _error_of(data)
    if error is None:
        return None
    names = tuple(_names(error))
    status = next((int(n) for n in names if re.fullmatch(r"[45]\d\d", n)), None)
    said = _one_line(_words(error)) or "an error without words"
    if status is None:
        status = next((code for code, pattern in _STATUS_OF if any(map(pattern.search, (*names, said)))), None)
    label = f"{status} " if status is not None else ""
    kind: FailureKind = "http" if status is not None else "invalid"
    return _failure(kind, status, f"{label}{said} (an error inside a 200)", error, _delay(error))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:EXCERPT]


def _failure(kind: FailureKind, status: int | None, message: str, error: Any, wait: float | None) -> Failure:
    names = tuple(_names(error))
    codes = any(map(_FILTER_CODE.search, names))
    filtered = codes or (status in _FILTER_STATUS and bool(_FILTER_WORDS.search(message)))
    no_money = any(map(_NO_MONEY.search, (*names, message)))
    passes = status is not None and (status in _RETRIED or status >= 500) and not filtered and not no_money
    return Failure(kind, message, status, passes, filtered, names, wait if wait is not None else _delay(error))


def _error_of(data: Any) -> Any:
    """The part of a reply that is an error: OpenAI's and OpenRouter's `error`, vLLM's flat one, MiniMax's `base_resp`,
    and an end that is none. An envelope with a code of success is no error."""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, Mapping):
        return None
    choice = choice_of(data)
    broken = choice is not None and ending_of(reason_of(choice)) == "broken"
    if choice is not None and isinstance(choice.get("error"), Mapping | str) and choice["error"]:
        return choice["error"]
    told = next((data[name] for name in ("error", "errors") if data.get(name)), None)
    if (choice is None or broken) and told and not isinstance(data.get("response"), str):
        return {**data, "error": told} if isinstance(told, str) else told
    if choice is not None:
        return {"message": f"the reply ended with '{reason_of(choice)}'", "code": 503} if broken else None
    base = data.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code") not in (None, 0):
        return {"message": base.get("status_msg"), "code": f"base_resp {base['status_code']}"}
    named = "error" in (data.get("object"), data.get("type"), data.get("status")) or data.get("success") is False
    is_error = named or data.get("error_code") or re.fullmatch(r"[45]\d\d", str(data.get("code")))
    return data if is_error and _words(data) else None


def _words(error: Any) -> str:
    """What an error says, from wherever it says it."""
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        return "; ".join(filter(None, map(_words, error)))
    if not isinstance(error, Mapping):
        return ""
    if "msg" in error and isinstance(error.get("loc"), list):  # one finding of pydantic's
        return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
    said = next(
        (
            w
            for n in ("message", "error", "errors", "detail", "msg", "error_msg", "status_msg")
            if (w := _words(error.get(n)))
        ),
        "",
    )
    metadata = error.get("metadata")
    beneath = _words(metadata.get("raw")) if isinstance(metadata, Mapping) else ""  # OpenRouter: the provider's words
    return f"{said}: {beneath}" if beneath and beneath not in said else said


def _names(error: Any) -> Iterator[str]:
    """Codes and parameters that an error names, at any depth."""
    if isinstance(error, list):
        for one in error:
            yield from _names(one)
    if not isinstance(error, Mapping):
        return
    for key, value in error.items():
        if key in _CODES and isinstance(value, str | int) and not isinstance(value, bool):
            yield str(value)
        elif key == "loc" and isinstance(value, list) and value:
            yield str(value[-1])
        elif key == "flagged_input":
            yield key
        elif key != "input":
            yield from _names(value)


def _delay(error: Any) -> float | None:
    """Seconds that an error itself asks to wait: a number, or Gemini's "30s"."""
    if isinstance(error, list):
        return next((found for one in error if (found := _delay(one)) is not None), None)
    if not isinstance(error, Mapping):
        return None
    for name in _WAITS:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)s?", str(error.get(name)))
        if match:
            return float(match[1])
    return next((found for one in error.values() if (found := _delay(one)) is not None), None)
