"""Instructions about how a reply is written: lists, sections, JSON, case, quotation marks, its beginning and end."""

from __future__ import annotations

import json
import re

from tools_bench.grading.instructions.contents import holds, language_of

CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCE = re.compile(r"^```[A-Za-z]*\s*|\s*```$")


def bullets(reply: str, n: int) -> bool:
    """Exactly n bullet points, lines that begin with `* ` or `- `."""
    return len(re.findall(r"^\s*(?:\*(?!\*)|-(?!-))\s*\S", reply, re.MULTILINE)) == n


def constrained(reply: str) -> bool:
    """One of the three permitted answers is in it."""
    return any(answer in reply for answer in CONSTRAINED)


def highlights(reply: str, n: int) -> bool:
    """At least n parts highlighted by asterisks, single or double, that are not empty."""
    doubled = re.findall(r"\*\*([^\n*]+)\*\*", reply)
    single = re.findall(r"(?<!\*)\*(?!\*)([^\n*]+)\*(?!\*)", reply)
    return sum(bool(part.strip()) for part in (*doubled, *single)) >= n


def sections(reply: str, splitter: str, n: int) -> bool:
    """At least n sections that begin with the splitter and a number: Section 1, Section 2 ..."""
    return len(re.findall(rf"(?<!\w){re.escape(splitter.strip())}\s?\d+", reply)) >= n


def is_json(reply: str) -> bool:
    """The whole of it is JSON, in a code fence or not."""
    text = _FENCE.sub("", _FENCE.sub("", reply.strip())).strip()
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def has_title(reply: str) -> bool:
    """A title in double angle brackets, <<poem of joy>>."""
    return any(title.strip("<> \t") for title in re.findall(r"<<[^\n]+>>", reply))


def two_responses(reply: str) -> bool:
    """Two different responses with six asterisks between them."""
    parts = [part.strip() for part in reply.split("******")]
    kept = [part for i, part in enumerate(parts) if part or 0 < i < len(parts) - 1]
    return len(kept) == 2 and all(kept) and kept[0] != kept[1]


def repeats_prompt(reply: str, prompt: str) -> bool:
    """It begins with the request, word for word."""
    return reply.strip().lower().startswith(prompt.strip().lower())


def ends_with(reply: str, phrase: str) -> bool:
    return reply.strip().strip('"').strip().lower().endswith(phrase.strip().lower())


def quoted(reply: str) -> bool:
    """The whole of it is in double quotation marks."""
    text = reply.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


def capital_words(reply: str, n: int, relation: str) -> bool:
    """How many words are in capital letters throughout."""
    return holds(sum(word.isupper() for word in re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", reply)), n, relation)


def all_capitals(reply: str) -> bool:
    return reply.isupper() and language_of(reply) == "en"


def all_lowercase(reply: str) -> bool:
    return reply.islower() and language_of(reply) == "en"


def no_comma(reply: str) -> bool:
    return "," not in reply
