"""Which tags hold the reasoning of responses that another pipeline sampled, and the prompt profile that reads them."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from tools_shared.console import say
from tools_shared.models import ModelRef, choose_profile
from tools_shared.prompts import DEFAULT_PROFILE, PROFILES, Profile
from tools_shared.prompts.templates import written_block
from tools_shared.records import Rejected, Row
from tools_shared.sources import lookup

_LOOKED_AT = 512
_OTHERS = (("<|begin_of_thought|>", "<|end_of_thought|>"), ("◁think▷", "◁/think▷"))
"""Tags of published traces that are spelled like no other: OpenThoughts' and Kimi's."""

Rows = Iterable[Row | Rejected]


def fitting_profile(ref: ModelRef, asked: str | None, response_key: str, rows: Rows) -> tuple[Profile, Rows]:
    """The profile to render and read with, and the rows, of which none is lost.

    The model's own, else the one asked for, else that of the tags which most of the first responses hold; says which
    one was taken then. Raises ToolError when a model is asked to speak another profile than it was trained with.
    """
    if asked is not None or ref.profile is not None:
        return choose_profile(ref, asked), rows
    rows = iter(rows)
    first = list(itertools.islice(rows, _LOOKED_AT))
    texts = list(_texts(first, response_key))
    held = Counter(tags for text in texts if (tags := tags_of(text)) is not None)
    taken, n = held.most_common(1)[0] if held else (None, 0)
    profile = PROFILES[DEFAULT_PROFILE] if taken is None else _profile_of(taken)
    why = f"{taken[0]} is in {n}" if taken else "the default, as no thinking tags are in any"
    say(f"prompt profile '{profile.name}': {why} of the first {len(texts)} responses (--profile takes another)")
    return profile, itertools.chain(first, rows)


def _texts(rows: Rows, keys: Iterable[str]) -> Iterator[str]:
    for row, key in itertools.product(rows, keys):
        try:
            value = None if isinstance(row, Rejected) else lookup(row.data, key)
        except KeyError:
            continue
        if isinstance(value, str):
            yield value


def tags_of(response: str) -> tuple[str, str] | None:
    """The tags of a response's first thinking block; a closing tag alone is enough. None where it has no block."""
    known = [*(p.think for p in PROFILES.values() if p.think is not None), *_OTHERS]
    if block := written_block(response):
        known.append(block)
    for side in (0, 1):
        if found := [(response.index(tags[side]), tags) for tags in known if tags[side] in response]:
            return min(found)[1]
    return None


def _profile_of(tags: tuple[str, str]) -> Profile:
    built_in = next((p for p in PROFILES.values() if p.think == tags), None)
    if built_in is not None:
        return built_in
    like = PROFILES["think"]
    system = like.system.replace(like.think[0], tags[0]).replace(like.think[1], tags[1])
    return dataclasses.replace(like, name=f"think, tagged {tags[0]}", system=system, think=tags)


def remedy(response: str, reader: ModelRef) -> str:
    """What helps where a response has no block of the profile's: it has other tags, or none."""
    tags = tags_of(response)
    if tags is None:
        return "--untagged whole takes such a response as it is"
    if reader.profile is not None:
        return (
            f"it is tagged {tags[0]}, and '{reader.spec}' was trained with the profile '{reader.profile.name}'; "
            "name the model that wrote it with --model"
        )
    name = next((p.name for p in PROFILES.values() if p.think == tags), "FILE.yaml")
    return f"--profile {name} reads responses tagged {tags[0]}" + (" if it says so" if name == "FILE.yaml" else "")
