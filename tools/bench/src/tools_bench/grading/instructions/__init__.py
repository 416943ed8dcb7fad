"""Whether a reply follows instructions that a program can check: the 25 kinds of IFEval, strictly and loosely.

Written from the description in Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models"
(arXiv 2311.07911), section 2 and table 1. Loosely means that the reply, or the reply without Markdown's asterisks, its
first line, its last line, or several of these, follows the instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tools_bench.grading.instructions import contents, forms
from tools_shared.config import nearest

Check = Callable[..., bool]
CHECKS: dict[str, tuple[Check, tuple[str, ...]]] = {
    "keywords:existence": (contents.has_keywords, ("keywords",)),
    "keywords:frequency": (contents.keyword_often, ("keyword", "frequency", "relation")),
    "keywords:forbidden_words": (contents.without_words, ("forbidden_words",)),
    "keywords:letter_frequency": (contents.letter_often, ("letter", "let_frequency", "let_relation")),
    "language:response_language": (contents.in_language, ("language",)),
    "length_constraints:number_sentences": (contents.sentences, ("num_sentences", "relation")),
    "length_constraints:number_paragraphs": (contents.paragraphs, ("num_paragraphs",)),
    "length_constraints:number_words": (contents.words, ("num_words", "relation")),
    "length_constraints:nth_paragraph_first_word": (
        contents.paragraph_begins,
        ("num_paragraphs", "nth_paragraph", "first_word"),
    ),
    "detectable_content:number_placeholders": (contents.placeholders, ("num_placeholders",)),
    "detectable_content:postscript": (contents.postscript, ("postscript_marker",)),
    "detectable_format:number_bullet_lists": (forms.bullets, ("num_bullets",)),
    "detectable_format:constrained_response": (forms.constrained, ()),
    "detectable_format:number_highlighted_sections": (forms.highlights, ("num_highlights",)),
    "detectable_format:multiple_sections": (forms.sections, ("section_spliter", "num_sections")),
    "detectable_format:json_format": (forms.is_json, ()),
    "detectable_format:title": (forms.has_title, ()),
    "combination:two_responses": (forms.two_responses, ()),
    "combination:repeat_prompt": (forms.repeats_prompt, ("prompt_to_repeat",)),
    "startend:end_checker": (forms.ends_with, ("end_phrase",)),
    "startend:quotation": (forms.quoted, ()),
    "change_case:capital_word_frequency": (forms.capital_words, ("capital_frequency", "capital_relation")),
    "change_case:english_capital": (forms.all_capitals, ()),
    "change_case:english_lowercase": (forms.all_lowercase, ()),
    "punctuation:no_comma": (forms.no_comma, ()),
}
"""What checks an instruction, and the parameters that it takes, in order."""

COUNTS = ("frequency", "let_frequency", "capital_frequency")
LISTS = ("keywords", "forbidden_words")
RELATIONS = ("at least", "less than")


def check(instruction: Mapping[str, Any]) -> None:
    """Raise ValueError for an instruction of an unknown kind, or one whose parameters are missing or of no use."""
    name = instruction["id"]
    if name not in CHECKS:
        raise ValueError(f"no instruction is called '{name}'{nearest(name, CHECKS)}")
    for key in CHECKS[name][1]:
        value = instruction.get(key)
        if value is None:
            raise ValueError(f'{name} has no "{key}"')
        if key.endswith("relation"):
            good = value in RELATIONS
        elif key in LISTS:
            good = isinstance(value, list | tuple) and bool(value) and all(isinstance(one, str) for one in value)
        elif key in COUNTS or key.startswith(("num_", "nth_")):
            good = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value) and value >= 0
        else:
            good = isinstance(value, str) and bool(value.strip())
        if not good:
            raise ValueError(f'{name}: "{key}" is {value!r}')


def follows(reply: str, instruction: Mapping[str, Any]) -> bool:
    """Whether a reply follows an instruction to the letter; an empty one follows none."""
    test, keys = CHECKS[instruction["id"]]
    return bool(reply.strip()) and test(reply, *(instruction[key] for key in keys))


def follows_loosely(reply: str, instruction: Mapping[str, Any]) -> bool:
    """Whether one of the reply's variants follows it."""
    return any(follows(variant, instruction) for variant in variants(reply))


def variants(reply: str) -> Iterator[str]:
    """The reply, without its first line, its last, or both; each also without asterisks."""
    lines = reply.split("\n")
    for rest in (lines, lines[1:], lines[:-1], lines[1:-1]):
        text = "\n".join(rest).strip()
        yield reply if rest is lines else text
        yield (reply if rest is lines else text).replace("*", "")
