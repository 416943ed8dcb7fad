"""A reply with everything that metrics look at: the item, what was stored, and for mathematics its judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tools_bench.grading.detectors import refuses
from tools_bench.requests.item import Item
from tools_bench.requests.journal import Response
from tools_shared.answers import Judgement
from tools_shared.code import CodeVerdict

THINK = ("<think>", "</think>")


@dataclass(frozen=True)
class MeasuredReply:
    """`judged` is there for mathematics; `given` are the answers in free text that the reply may be taken to give, or
    the letters of the options that it chooses; `ran` says what became of its program."""

    item: Item
    response: Response
    judged: Judgement | None = None
    given: Sequence[str] = ()
    ran: CodeVerdict | None = None

    @property
    def text(self) -> str:
        return visible(self.response.text)

    @property
    def refused(self) -> bool:
        """By the server's word, or by that of the reply."""
        return bool(self.response.refusal) or refuses(self.text)


def visible(text: str) -> str:
    """What a reader sees: without a closed block of thinking before it."""
    end = text.find(THINK[1])
    return text[end + len(THINK[1]) :] if end >= 0 else text
