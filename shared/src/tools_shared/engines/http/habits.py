"""What a server refuses, learned from its errors, so that later requests leave it out.

Only what leaves the sample as it is, or is a server's own business, is changed by itself, and each change is said once:
a sampling parameter at the value that changes nothing, another name for the length, the system message in the
user's turn as the local engine puts it, a stream. A parameter that the user chose and the server
refuses stays a failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from tools_shared.engines.http.failures import Failure
from tools_shared.prompts.templates import fold_system
from tools_shared.records import Message

NEUTRAL: Mapping[str, Any] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
"""Sampling parameters at the values that leave every token as likely as the model has it. -1: 0 is not "all tokens"
everywhere (SGLang)."""
_LEFT_OUT: Mapping[str, str] = {
    "seed": "draws cannot be repeated there",
    "chat_template_kwargs": "the server decides whether the model thinks",
    "think": "the server decides whether the model thinks",
    "stream_options": "streams come without counts of tokens",
    "stop": "replies are cut here instead",
    "stop_token_ids": "what ends a reply is left to it",
}
_OF_JUDGES: Mapping[str, str] = {
    "response_format": "the form of the reply is asked for in words alone",
    "logprobs": "replies come without probabilities",
}
"""What else `may_drop` may name."""
_COMPLAINT = re.compile(
    r"unsupported|not supported|n.t support|unknown|unrecogni[sz]ed|unexpected|extra|"
    r"not (permitted|allowed|implemented|available|support)|forbidden|invalid|cannot find|must be|should be|"
    r"cannot (both )?be|no such|only the default|deprecated|no longer|additional propert|"
    r"not (defined|recogni[sz]ed|accepted|a valid|valid)",
    re.IGNORECASE,
)
_CHOICES = re.compile(
    r"expected one of|(supported|valid|allowed|permitted) (fields|parameters|keys|values|names)|did you mean",
    re.IGNORECASE,
)
_SYSTEM_ROLE = re.compile(
    r"\b(system|developer)\W+(\w+\W+){0,2}(roles?|messages?|prompts?|instructions?)\b|"
    r"\broles?\W+(\w+\W+){0,4}(system|developer)\b",
    re.IGNORECASE,
)
_FORM = re.compile(
    r"json.?schema|json.?mode|structured.?(output|generation|decoding)|(guided|constrained).?(json|decoding|generation)|"
    r"grammar",
    re.IGNORECASE,
)
"""Words for a form that a server cannot force."""
_NOT = re.compile(r"\bnot\b|n.t\b|unsupported|unexpected|invalid|unknown|\bonly\b|disallow|forbid", re.IGNORECASE)
_TURNS_ONLY = re.compile(
    r"(only|expected|should be|must be|one of)\W+(one of\W+)?user\W+(\w+\W+)?(model|assistant)|"
    r"roles must alternate|alternat\w+.{0,20} roles|(got|variant|role:?)\W+(system|developer)\b|first message must",
    re.IGNORECASE,
)
_STREAM = re.compile(
    r"only.{0,30}stream|stream\w*\W.{0,20}(required|must|should|needs? to|only)|"
    r"(enable|set|use|requires?).{0,20}stream|non.?stream.{0,25}\bnot\b|stream\W{1,3}(is\W)?false.{0,20}\bnot\b",
    re.IGNORECASE,
)
_NEEDED = {"messages", "model", "prompt", "max_tokens", "max_completion_tokens", "response_format"}
_STATUS = {None, 400, 404, 422, 500, 501}


class Habits:
    """One server's refusals. `say` is told of each change, once; `told` keeps what was said. `may_drop` are further
    parameters that may be left out, where it is not this server's model that is measured."""

    def __init__(self, say: Callable[[str], None], may_drop: Collection[str] = ()) -> None:
        self.say, self.may_drop, self.told = say, frozenset(may_drop), list[str]()
        self.dropped: set[str] = set()
        self.folds_system = self.renames_length = self.streams = False

    def fit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body as this server takes it."""
        fitted = {name: value for name, value in body.items() if name not in self.dropped}
        if self.renames_length and "max_tokens" in fitted:
            fitted["max_completion_tokens"] = fitted.pop("max_tokens")
        if self.streams:
            fitted["stream"] = True
            if "stream_options" not in self.dropped:
                fitted["stream_options"] = {"include_usage": True}
        if self.folds_system and _has_system(fitted):
            turns = [Message(turn["role"], turn["content"]) for turn in fitted["messages"]]
            fitted["messages"] = [{"role": m.role, "content": m.content} for m in fold_system(turns)]
        return fitted

    def learn(self, body: Mapping[str, Any], sent: Mapping[str, Any], failure: Failure) -> bool:
        """Learn from the failure of what was `sent` for `body`; returns whether it is worth another try, other than it
        was."""
        if failure.kind not in ("http", "invalid") or failure.status not in _STATUS or failure.filtered:
            return False
        self._learn(sent, failure)
        return self.fit(body) != sent

    def explain(self, sent: Mapping[str, Any], failure: Failure) -> Failure:
        """The failure with what a user can do about a parameter that the server refuses."""
        if failure.status not in _STATUS or failure.filtered:
            return failure
        refused = [name for name in _refused(sent, failure) if name not in _NEEDED]
        if not refused:
            return failure
        name = refused[0]
        return replace(failure, message=f"{failure.message} (--drop {name} asks without {name} {sent[name]!r})")

    def _learn(self, sent: Mapping[str, Any], failure: Failure) -> None:
        said = failure.message
        if "max_completion_tokens" in said and "max_tokens" in sent and "max_completion_tokens" not in sent:
            self.renames_length = True
            self._tell("takes max_completion_tokens instead of max_tokens")
            return
        if not sent.get("stream") and _STREAM.search(said):
            self.streams = True
            self._tell("answers in streams only")
            return
        if not self.folds_system and _has_system(sent) and _refuses_system(said):
            self.folds_system = True
            self._tell("takes no system message; it opens the user's turn, as with the local engine")
            return
        unneeded = [name for name in _refused(sent, failure) if self._may_go(name, sent[name])]
        for why, names in groupby(sorted(unneeded, key=_why), _why):
            self._tell(f"does not take {', '.join(names)}: {why}")
        self.dropped.update(unneeded)

    def _may_go(self, name: str, value: Any) -> bool:
        return name in _LEFT_OUT or name in self.may_drop or (name in NEUTRAL and NEUTRAL[name] == value)

    def _tell(self, what: str) -> None:
        if (line := f"the server {what}") not in self.told:
            self.told.append(line)
            self.say(line)


def _why(name: str) -> str:
    return {**_LEFT_OUT, **_OF_JUDGES}.get(name, "its own value counts there")


def _has_system(body: Mapping[str, Any]) -> bool:
    messages = body.get("messages")
    return isinstance(messages, list) and len(messages) > 1 and messages[0].get("role") == "system"


def _refuses_system(said: str) -> bool:
    return bool(_TURNS_ONLY.search(said) or (_SYSTEM_ROLE.search(said) and _NOT.search(said)))


def _refused(sent: Mapping[str, Any], failure: Failure) -> list[str]:
    """The keys of a body that an error complains of: those that it points at, else those that its words name before any
    list of what would be right."""
    return [name for name in dict.fromkeys(_named(failure)) if name in sent]


def _named(failure: Failure) -> Iterator[str]:
    if _FORM.search(failure.message):
        yield "response_format"
    if not _COMPLAINT.search(failure.message):
        return
    yield from failure.names
    words = re.findall(r"[A-Za-z_]+", _CHOICES.split(failure.message)[0])
    yield from words
    if "thinking" in words:  # Ollama: "MODEL" does not support thinking
        yield "think"
