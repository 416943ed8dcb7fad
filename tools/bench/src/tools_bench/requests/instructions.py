"""Rows of verifiable instructions in IFEval's layout: `prompt`, `instruction_id_list`, and `kwargs` for each id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools_bench.grading.instructions import check
from tools_shared.sources import as_list

IDS = "instruction_id_list"


def instructions_of(data: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The instructions of a row, each with its `id` and its parameters; raises ValueError for one that cannot be
    checked."""
    ids, given = as_list(data.get(IDS)), data.get("kwargs")
    if not ids:
        raise ValueError(f'no "{IDS}" in the row, a list such as ["punctuation:no_comma"]')
    parameters = [{} for _ in ids] if given is None else as_list(given)
    if parameters is None or len(parameters) != len(ids):
        raise ValueError(f'"kwargs" has to be a list with one object for each of the {len(ids)} instructions')
    found = []
    for name, one in zip(ids, parameters, strict=True):
        if not isinstance(one, Mapping | None):
            raise ValueError(f'"kwargs" of {name} is {type(one).__name__}, not an object')
        # Tables give every instruction every parameter, empty where it has none.
        instruction = {"id": str(name), **{key: value for key, value in (one or {}).items() if value is not None}}
        check(instruction)
        found.append(instruction)
    return tuple(found)
