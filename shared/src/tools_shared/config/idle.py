"""Options without effect in a configuration: they are refused or reported, since the run would not do what they say.

A configuration names them itself, in `Config.idle`. One that was typed is refused; one from the environment or a file,
which may serve several commands, is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from tools_shared.config import Config, flag_of
from tools_shared.errors import ToolError

WHERE = {"environment": "the environment", "file": "the configuration file"}


def check_idle(config: Config, origins: Mapping[str, str]) -> list[str]:
    """Raise ToolError for a typed option that decides nothing; returns a line for each other that is not the default.

    `origins` are those of `cli.Invocation`.
    """
    notes = []
    defaults = {field.name: field.default for field in fields(config)}
    for name, because in config.idle().items():
        origin = origins.get(name, "default")
        if origin == "flag":
            raise ToolError(f"{flag_of(name)} has no effect {because}; leave it out")
        if origin in WHERE and getattr(config, name) != defaults[name]:
            notes.append(f"note: {flag_of(name)}, from {WHERE[origin]}, has no effect {because}")
    return notes
